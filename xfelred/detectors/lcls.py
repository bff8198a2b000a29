"""Detectors of LCLS.

Shapes, banks and bits of raw words: psana (raw data of `Jungfrau`, `Epix10ka`, ...);
epixM and epixUHR: the calibration suite. Numbers of common modes: `DetObject` of
smalldata_tools and default parameters of psana; names of numbers that the peers
describe wrongly are put right here.
"""

from __future__ import annotations

from dataclasses import replace

from xfelred.detectors.description import CommonModes, Detector, Gain, Pars, Segment
from xfelred.kernels.calibration.rule import Rule

LOW_14 = 0x3FFF
PSANA_GAIN = "adu/keV"
# What pixels of a CsPad in low gain, where the configuration has 0, are multiplied by.
CSPAD_LOW_GAIN = 6.85
# Pixels of a CsPad sensor that are bonded to no channel: (r, r) and (r, r + 194).
UNBONDED_ROWS, UNBONDED_SHIFT = range(0, 181, 10), 194
DARK_COLUMNS = (255, 257)  # of an icarus: they see no light

# -2, -1 and 0: raw and pedestal-subtracted data, which have no common mode.
NOTHING: dict[int, Pars] = {-2: (), -1: (), 0: ()}
UXI: dict[int, Pars] = {
    **NOTHING, 80: ("dark_roi",), 81: ("uxi", 30.0, 30.0, 0.05, 0)
}  # fmt: skip
ICARUS: dict[int, Pars] = {**UXI, 98: ("dark_columns", 0), 99: ("dark_columns", 1)}

CAMERA = Detector("camera", "lcls", modes=CommonModes(0, {**NOTHING, 30: ()}))
CSPAD = Detector(
    "cspad", "lcls", ("cspad2x1",),
    segment=Segment((185, 388), 2, 1, ((), (194,))),
    pitch=(109.92e-6, 109.92e-6),
    modes=CommonModes(1, {
        **NOTHING, 1: (1, 25, 40, 100, 0), 10: (1, 25, 40, 100, 1), 5: (5, 100),
        55: (5, 5000), 30: (1, 25, 25, 100, 0),
    }),
)  # fmt: skip
JUNGFRAU = Detector(
    "jungfrau", "lcls", ("jungfrauemu", "jf"),
    segment=Segment((512, 1024), 16, 2, ((256,), (256, 512, 768))),
    pitch=(75e-6, 75e-6),
    gain=Gain(Rule(3, LOW_14, 14, 3, (0, 1, 3)), "bits", unit=PSANA_GAIN),
    modes=CommonModes(0, {
        **NOTHING, 7: (7, 3, 10, 10), 71: (7, 1, 10, 10), 72: (7, 2, 10, 10),
        30: (7, 1, 100, 0),
    }),
)  # fmt: skip
EPIX10KA = Detector(
    "epix10ka", "lcls", ("epix10k",),
    segment=Segment((352, 384), 8, 2, ((176,), (192,))),
    pitch=(100e-6, 100e-6),
    # Fixed high, medium and low; then the stages AHL-H, AML-M, AHL-L and AML-L.
    gain=Gain(
        Rule(7, LOW_14, 14, 1, tuple(range(7))), "configuration", (0, 1, 3, 4),
        PSANA_GAIN,
    ),
    # 84 is columns: the peers' comments say rows, their bits do not.
    modes=CommonModes(
        80,
        {
            **NOTHING, 80: (7, 0, 100, 10), 81: (), 82: (), 83: (7, 1, 100, 10),
            84: (7, 2, 10, 10), 85: (7, 3, 10, 10), 30: (7, 2, 10, 10),
        },
        lcls2={84: (7, 2, 100, 10), 85: (7, 3, 100, 10)}, ghosts=True,
    ),
)  # fmt: skip
EPIXHR = replace(
    EPIX10KA, name="epixhr", aliases=("epixhremu",),
    segment=Segment((288, 384), 8, 2, ((144,), (192,))),
    modes=EPIX10KA.modes and replace(EPIX10KA.modes, ghosts=False),
)  # fmt: skip
EPIX100 = Detector(
    "epix100", "lcls", ("epix100a",),
    segment=Segment((704, 768), 8, 2, ((352,), (384,))), n_segments=1,
    pitch=(50e-6, 50e-6),
    gain=Gain(unit=PSANA_GAIN, flag_bit=15),
    modes=CommonModes(6, {
        **NOTHING, 4: (4, 6, 30, 10), 34: (4, 6, 100, 100), 30: (4, 6, 30, 30),
        6: (6, 30, 30, 3, 0.25, 1), 36: (6, 30, 30, 3, 0.25, 0),
        45: (6, 30, 30, 3, 0.25, 0), 46: (6, 30, 30, 3, 0.25, 1),
        47: ("banks", 6, 30, 30, 3, 0.25, 0),
    }),
)  # fmt: skip
# One bit tells whether a pixel has switched, to the second range. Without banks: psana
# has no common mode of these by groups.
EPIXM = replace(
    CAMERA, name="epixm", aliases=("epixm320",), segment=Segment((192, 384)),
    n_segments=4,
    gain=Gain(Rule(2, 0x7FFF, 15, 1, (0, 1)), "bits", negative=True),
)  # fmt: skip
EPIXUHR = replace(
    CAMERA, name="epixuhr", segment=Segment((168, 192)), n_segments=4,
    gain=Gain(Rule(2, 0x7FF, 11, 1, (0, 1)), "bits"),
)  # fmt: skip
PNCCD = Detector(
    "pnccd", "lcls", segment=Segment((512, 512), 4), n_segments=4, pitch=(75e-6, 75e-6),
    modes=CommonModes(8, {**NOTHING, 8: (8, 5, 500, 10), 30: (3, 350, 350, 128)}),
)  # fmt: skip
ANDOR3D = {**NOTHING, 30: (2, 10, 10, "columns")}
PRINCETON = {**NOTHING, 30: (1, 50, 50, 100, 0)}
OTHER = ("archon", "istar", "opal", "zyla", "andor", "alvium", "rayonix", "axis")

DETECTORS = (
    JUNGFRAU,
    *(
        JUNGFRAU.sized(f"jungfrau{size}", n, f"jf{size}")
        for size, n in (("05M", 1), ("1M", 2), ("4M", 8), ("9M", 18), ("16M", 32))
    ),
    EPIX10KA,
    EPIX10KA.sized("epix10ka2M", 16, "epix10k2M"),
    EPIX10KA.sized("epix10kaquad", 4, "epix10kquad", "epixquad"),
    EPIX10KA.sized("epix10ka135", 4, "epix10k135"),
    EPIXHR,
    EPIXHR.sized("epixhr2x2", 1),
    EPIX100,
    EPIXM,
    EPIXUHR,
    CSPAD,
    CSPAD.sized("cspad2M", 32),
    replace(CSPAD, name="cspad2x2", aliases=("cs140k", "cspad140k"), n_segments=2),
    PNCCD,
    CAMERA,
    replace(CAMERA, name="uxi", modes=CommonModes(0, UXI, dark_region=True)),
    replace(CAMERA, name="icarus", modes=CommonModes(0, ICARUS, dark_region=True)),
    replace(CAMERA, name="andor3d", modes=CommonModes(0, ANDOR3D)),
    replace(CAMERA, name="princeton", modes=CommonModes(0, PRINCETON)),
    *(Detector(name, "lcls", camera=True) for name in OTHER),
    Detector("piranha", "lcls", ("piranha4",), camera=True),
)
