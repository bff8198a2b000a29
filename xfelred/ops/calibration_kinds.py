"""How raw numbers of each kind of detector are read, as data.

LCLS: psana (`Jungfrau`, `Epix10ka`, `Epix100`, `CsPad` raw data). European XFEL: data
formats of AGIPD, LPD, DSSC and JUNGFRAU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from xfelred.errors import did_you_mean
from xfelred.kernels.calibrate import Rule

LOW_14 = 0x3FFF
# Names of the gain indices of an epix10ka: fixed high, medium and low, then the two
# stages of the automatic modes.
EPIX10KA_GAINS = ("FH", "FM", "FL", "AHL-H", "AML-M", "AHL-L", "AML-L")


@dataclass(frozen=True)
class DetectorKind:
    """What `ops.calibrate` has to know about a detector.

    Attributes
    ----------
    rule : Rule
        How its numbers are read.
    tells : str
        What tells the gain range: "nothing", "bits", "index" (an array that goes with
        the frames), or "thresholds" (of the gain voltage, in the constants).
    common_mode : str
        Whose numbers and parameters of common modes it has: a detector of
        `subtract_common_mode_lcls`, or "" where it has none.
    segment : str
        How a module is divided; "": each frame is one segment.
    used_ranges : tuple of int
        Gain ranges that take part in a common mode.
    """

    rule: Rule
    tells: str = "nothing"
    common_mode: str = ""
    segment: str = ""
    used_ranges: tuple[int, ...] = (0,)


JUNGFRAU_RULE = Rule(3, LOW_14, 14, 3, (0, 1, 3))
EPIX10KA_RULE = Rule(7, LOW_14, 14, 1, tuple(range(7)))

KINDS: dict[str, DetectorKind] = {
    "jungfrau": DetectorKind(JUNGFRAU_RULE, "bits", "jungfrau", "jungfrau"),
    "epix10ka": DetectorKind(
        EPIX10KA_RULE, "index", "epix10ka", "epix10ka", (0, 1, 3, 4)
    ),
    "epixhr": DetectorKind(EPIX10KA_RULE, "index", "epixhr", "epixhr", (0, 1, 3, 4)),
    "epix100": DetectorKind(Rule(), "nothing", "epix100", "epix100"),
    "cspad": DetectorKind(Rule(), "nothing", "cspad", "cspad2x1"),
    "cspad2x2": DetectorKind(Rule(), "nothing", "cspad2x2", "cspad2x1"),
    "pnccd": DetectorKind(Rule(), "nothing", "pnccd", "pnccd"),
    "camera": DetectorKind(Rule(), "nothing", "camera"),
    "agipd": DetectorKind(Rule(3, codes=(0, 1, 2)), "thresholds", "", "agipd"),
    "lpd": DetectorKind(Rule(3, 0xFFF, 12, 3, (0, 1, 2)), "bits", "", "lpd"),
    "dssc": DetectorKind(Rule(), "nothing", "", "dssc"),
    # Gain has an array of its own here, which holds the codes of the detector.
    "jungfrau_euxfel": DetectorKind(
        Rule(3, LOW_14, codes=(0, 1, 3)), "index", "jungfrau", "jungfrau"
    ),
}  # fmt: skip

# Other names, without signs and in lower case.
ALIASES = {
    "epix10k": "epix10ka", "epix10k2m": "epix10ka", "epix10ka2m": "epix10ka",
    "epix10kquad": "epix10ka", "epix10kaquad": "epix10ka", "epix10k135": "epix10ka",
    "jungfrau05m": "jungfrau", "jungfrau1m": "jungfrau", "jungfrau4m": "jungfrau",
    "epix100a": "epix100", "epixhr2x2": "epixhr", "cspad2m": "cspad",
    "cspad2x1": "cspad", "cs140k": "cspad2x2", "opal": "camera", "zyla": "camera",
    "andor": "camera", "alvium": "camera", "rayonix": "camera", "mpccd": "camera",
    "agipd1m": "agipd", "agipd500k": "agipd", "lpd1m": "lpd", "dssc1m": "dssc",
    "jungfraueuxfel": "jungfrau_euxfel",
}  # fmt: skip


def kind_of(name: str) -> tuple[str, DetectorKind]:
    """Return a kind of detector, by its name in any spelling.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    plain = re.sub(r"[^a-z0-9]", "", str(name).lower())
    kind = ALIASES.get(plain, plain)
    if kind not in KINDS:
        raise ValueError(
            f"kind={name!r} is not known; wanted one of {', '.join(KINDS)}."
            f"{did_you_mean(plain, [*KINDS, *ALIASES])}"
        )
    return kind, KINDS[kind]
