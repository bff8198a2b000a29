"""The numbers that LCLS users know their common modes by, as data.

Numbers of `DetObject` in smalldata_tools and default parameters of psana; names of the
numbers that the peers describe wrongly are put right here.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from xfelred.detector_names import known_as
from xfelred.errors import ArgumentError, listing, shown

Pars = tuple[Any, ...]


@dataclass(frozen=True)
class LclsDetector:
    """What one kind of detector offers.

    Attributes
    ----------
    default : int
        The number that `None` stands for.
    numbers : dict of int to cmpars
        () does nothing.
    segment : str, optional
        Name of its segment; None: each frame is one segment.
    gain_ranges : tuple of int
        Of a switching detector those that take part.
    ghosts : bool
        Numbers above 100 also take away the ghost of the previous frame.
    """

    default: int
    numbers: dict[int, Pars]
    segment: str | None = None
    gain_ranges: tuple[int, ...] = ()
    ghosts: bool = False


# -2, -1 and 0: raw and pedestal-subtracted data, which have no common mode.
NOTHING: dict[int, Pars] = {-2: (), -1: (), 0: ()}

JUNGFRAU: dict[int, Pars] = {
    **NOTHING, 7: (7, 3, 10, 10), 71: (7, 1, 10, 10), 72: (7, 2, 10, 10),
    30: (7, 1, 100, 0),
}  # fmt: skip
# 84 is columns: the peers' comments say rows, their bits do not.
EPIX10KA: dict[int, Pars] = {
    **NOTHING, 80: (7, 0, 100, 10), 81: (), 82: (), 83: (7, 1, 100, 10),
    84: (7, 2, 10, 10), 85: (7, 3, 10, 10), 30: (7, 2, 10, 10),
}  # fmt: skip
EPIX10KA_LCLS2: dict[int, Pars] = {
    **EPIX10KA, 84: (7, 2, 100, 10), 85: (7, 3, 100, 10)
}  # fmt: skip
EPIX100: dict[int, Pars] = {
    **NOTHING, 4: (4, 6, 30, 10), 34: (4, 6, 100, 100), 30: (4, 6, 30, 30),
    6: (6, 30, 30, 3, 0.25, 1), 36: (6, 30, 30, 3, 0.25, 0),
    45: (6, 30, 30, 3, 0.25, 0), 46: (6, 30, 30, 3, 0.25, 1),
    47: ("banks", 6, 30, 30, 3, 0.25, 0),
}  # fmt: skip
CSPAD: dict[int, Pars] = {
    **NOTHING, 1: (1, 25, 40, 100, 0), 10: (1, 25, 40, 100, 1), 5: (5, 100),
    55: (5, 5000), 30: (1, 25, 25, 100, 0),
}  # fmt: skip
PNCCD: dict[int, Pars] = {**NOTHING, 8: (8, 5, 500, 10), 30: (3, 350, 350, 128)}
UXI_PARS: Pars = ("uxi", 30.0, 30.0, 0.05, 0)
UXI: dict[int, Pars] = {**NOTHING, 80: ("dark_roi",), 81: UXI_PARS}
ICARUS: dict[int, Pars] = {**UXI, 98: ("dark_columns", 0), 99: ("dark_columns", 1)}
CAMERA: dict[int, Pars] = {**NOTHING, 30: ()}

DETECTORS: dict[str, LclsDetector] = {
    "jungfrau": LclsDetector(0, JUNGFRAU, "jungfrau", (0,)),
    "epix10ka": LclsDetector(80, EPIX10KA, "epix10ka", (0, 1, 3, 4), ghosts=True),
    "epixhr": LclsDetector(80, EPIX10KA, "epixhr", (0, 1, 3, 4)),
    "epix100": LclsDetector(6, EPIX100, "epix100"),
    "cspad": LclsDetector(1, CSPAD, "cspad2x1"),
    "cspad2x2": LclsDetector(1, CSPAD, "cspad2x1"),
    "pnccd": LclsDetector(8, PNCCD, "pnccd"),
    "uxi": LclsDetector(0, UXI),
    "icarus": LclsDetector(0, ICARUS),
    "andor3d": LclsDetector(0, {**NOTHING, 30: (2, 10, 10, "columns")}),
    "princeton": LclsDetector(0, {**NOTHING, 30: (1, 50, 50, 100, 0)}),
    # psana corrects none of these.
    "epixm": LclsDetector(0, CAMERA, "epixm"),
    "epixuhr": LclsDetector(0, CAMERA, "epixuhr"),
    "camera": LclsDetector(0, CAMERA),
}

# Parameters of every algorithm after its number, and what the last of them default to.
PARAMETERS: dict[Any, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    0: (("mode", "max_correction", "min_pixels"), (10,)),
    1: (("mean_max", "sigma_max", "n_threshold", "use_unbonded"), (0,)),
    2: (("threshold", "max_correction", "length"), (128,)),
    3: (("threshold", "max_correction", "length"), (128,)),
    4: (("bits", "half_range", "max_correction"), ()),
    5: (("max_correction",), ()),
    6: (
        ("max_correction", "histogram_range", "colrow", "min_fraction", "norm_all"),
        (30, 30, 3, 0.25, 0),
    ),
    7: (("mode", "max_correction", "min_pixels"), (10,)),
    8: (("mode", "max_correction", "min_pixels"), (500, 10)),
    "uxi": (
        ("photon_threshold", "max_correction", "min_fraction", "mask_neighbours"),
        (0.05, 0),
    ),
}


def detector_of(name: str, lcls2: bool = False) -> tuple[str, LclsDetector]:
    """Return a kind of detector, by its name in any spelling.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    advice = " For others use ops.subtract_common_mode"
    kind = known_as(name, DETECTORS, "LCLS detector", advice)
    found = DETECTORS[kind]
    if lcls2 and found.numbers is EPIX10KA:
        found = LclsDetector(
            found.default, EPIX10KA_LCLS2, found.segment, found.gain_ranges,
            found.ghosts,
        )  # fmt: skip
    return kind, found


def cmpars_of(kind: str, detector: LclsDetector, number: int | None) -> Pars:
    """Return the parameters of a number, without its hundreds.

    Raises
    ------
    ValueError
        If the detector has no such number.
    """
    chosen = detector.default if number is None else number
    if chosen > 100 and detector.ghosts:
        chosen %= 100
    if chosen not in detector.numbers:
        elsewhere = [k for k, d in DETECTORS.items() if chosen in d.numbers]
        hint = f" {chosen} belongs to {listing(elsewhere)}." if elsewhere else ""
        raise ArgumentError(
            f"{kind} has no common mode {number}; it has"
            f" {listing(sorted(detector.numbers), 20)}.{hint} Parameters of your own go"
            " to cmpars="
        )
    return detector.numbers[chosen]


def completed(cmpars: Pars) -> Pars:
    """Return cmpars with all their parameters.

    Raises
    ------
    ValueError
        If the algorithm is unknown, or the number of its parameters wrong.
    """
    if not cmpars:
        return ()
    algorithm, *given = cmpars
    if not isinstance(algorithm, Hashable) or algorithm not in PARAMETERS:
        raise ArgumentError(
            f"cmpars={shown(cmpars)}: no algorithm {shown(algorithm)}; known:"
            f" {listing(PARAMETERS, 20)}"
        )
    names, defaults = PARAMETERS[algorithm]
    wrong = [v for v in given if not isinstance(v, Real) or v != v]
    if not len(names) - len(defaults) <= len(given) <= len(names) or wrong:
        raise ArgumentError(
            f"cmpars={shown(cmpars)}: wanted ({algorithm!r}, {', '.join(names)}), of"
            f" which the last {len(defaults)} may be left out, all numbers"
        )
    n_left = len(names) - len(given)
    return (algorithm, *given, *defaults[len(defaults) - n_left :])
