"""How raw numbers of each kind of detector are read, as data.

LCLS: psana (`Jungfrau`, `Epix10ka`, `Epix100`, `CsPad` raw data). European XFEL: data
formats of AGIPD, LPD, DSSC and JUNGFRAU.
"""

from __future__ import annotations

from dataclasses import dataclass

from xfelred.detector_names import known_as
from xfelred.kernels.calibration.calibrate import Rule

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
    gain_unit : str
        Of a gain that does not say: psana's of these detectors are adu/keV.
    """

    rule: Rule
    tells: str = "nothing"
    common_mode: str = ""
    segment: str = ""
    used_ranges: tuple[int, ...] = (0,)
    gain_unit: str = ""


JUNGFRAU_RULE = Rule(3, LOW_14, 14, 3, (0, 1, 3))
PSANA_GAIN = "adu/keV"
EPIX10KA_RULE = Rule(7, LOW_14, 14, 1, tuple(range(7)))

KINDS: dict[str, DetectorKind] = {
    "jungfrau": DetectorKind(
        JUNGFRAU_RULE, "bits", "jungfrau", "jungfrau", gain_unit=PSANA_GAIN
    ),
    "epix10ka": DetectorKind(
        EPIX10KA_RULE, "index", "epix10ka", "epix10ka", (0, 1, 3, 4), PSANA_GAIN
    ),
    "epixhr": DetectorKind(
        EPIX10KA_RULE, "index", "epixhr", "epixhr", (0, 1, 3, 4), PSANA_GAIN
    ),
    "epix100": DetectorKind(
        Rule(), "nothing", "epix100", "epix100", gain_unit=PSANA_GAIN
    ),
    # One bit tells whether a pixel has switched, to the second range.
    "epixm": DetectorKind(Rule(2, 0x7FFF, 15, 1, (0, 1)), "bits", "epixm", "epixm"),
    "epixuhr": DetectorKind(
        Rule(2, 0x7FF, 11, 1, (0, 1)), "bits", "epixuhr", "epixuhr"
    ),
    "cspad": DetectorKind(Rule(), "nothing", "cspad", "cspad2x1"),
    "cspad2x2": DetectorKind(Rule(), "nothing", "cspad2x2", "cspad2x1"),
    "pnccd": DetectorKind(Rule(), "nothing", "pnccd", "pnccd"),
    "uxi": DetectorKind(Rule(), "nothing", "uxi"),
    "icarus": DetectorKind(Rule(), "nothing", "icarus"),
    "andor3d": DetectorKind(Rule(), "nothing", "andor3d"),
    "princeton": DetectorKind(Rule(), "nothing", "princeton"),
    "camera": DetectorKind(Rule(), "nothing", "camera"),
    "agipd": DetectorKind(Rule(3, codes=(0, 1, 2)), "thresholds", "", "agipd"),
    "lpd": DetectorKind(Rule(3, 0xFFF, 12, 3, (0, 1, 2)), "bits", "", "lpd"),
    "dssc": DetectorKind(Rule(), "nothing", "", "dssc"),
    # Gain has an array of its own here, which holds the codes of the detector.
    "jungfrau_euxfel": DetectorKind(
        Rule(3, LOW_14, codes=(0, 1, 3)), "index", "jungfrau", "jungfrau"
    ),
}  # fmt: skip


def kind_of(name: str) -> tuple[str, DetectorKind]:
    """Return a kind of detector, by its name in any spelling.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    kind = known_as(name, KINDS, "kind")
    return kind, KINDS[kind]
