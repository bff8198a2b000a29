"""Detectors of Dectris: even grids of modules, with gaps of whole pixels between them.

Sizes of pixels, modules and gaps as in the manufacturer's documentation and in pyFAI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import GeometryMismatchError

Sizes = tuple[int, int]
HALF_MODULES = (512,)  # of the Eiger2 250k


@dataclass(frozen=True)
class Family:
    """What detectors of one make have in common."""

    pixel: float  # m
    module: Sizes  # (slow, fast) pixels, as is the next
    gap: Sizes
    # Columns (start, stop) of a module that see nothing: where CdTe sensors meet.
    seam: Sizes = (0, 0)

    def check(self, shape: Sizes) -> None:
        """Raise GeometryMismatchError if no number of modules has so many pixels."""
        for n, module, gap in zip(shape, self.module, self.gap, strict=True):
            if (n + gap) % (module + gap) and n not in HALF_MODULES:
                raise GeometryMismatchError(
                    f"a detector of modules of {self.module[0]}x{self.module[1]} pixels"
                    f" with gaps of {self.gap[0]} and {self.gap[1]} has no"
                    f" {shape[0]}x{shape[1]} pixels. Data that are binned, cut or"
                    " turned have other positions: select pixels after locate"
                )

    def gaps(self, shape: Sizes) -> NDArray[np.bool_]:
        """Return the pixels that see nothing, bool (slow, fast)."""
        row = np.arange(shape[0]) % (self.module[0] + self.gap[0])
        column = np.arange(shape[1]) % (self.module[1] + self.gap[1])
        start, stop = self.seam
        blind = (column >= self.module[1]) | ((column >= start) & (column < stop))
        return np.asarray((row >= self.module[0])[:, None] | blind[None, :])


# By the beginning of the name, and whether the sensor is CdTe; the first that fits.
FAMILIES = {
    ("pilatus4", True): Family(150e-6, (255, 513), (20, 7), (256, 257)),
    ("pilatus4", False): Family(150e-6, (255, 513), (20, 7)),
    ("pilatus", True): Family(172e-6, (195, 487), (17, 7), (242, 245)),
    ("pilatus", False): Family(172e-6, (195, 487), (17, 7)),
    ("eiger2", True): Family(75e-6, (512, 1028), (38, 12), (513, 515)),
    ("eiger2", False): Family(75e-6, (512, 1028), (38, 12)),
    ("eiger", False): Family(75e-6, (514, 1030), (37, 10)),
}


def family_of(detector: str) -> Family | None:
    """Return the family of a detector by its name, if it is one of these."""
    plain = detector.lower()
    for mark in " _-":
        plain = plain.replace(mark, "")
    cdte = "cdte" in plain
    found = (f for (n, c), f in FAMILIES.items() if plain.startswith(n) and c == cdte)
    return next(found, None)
