"""Detectors of the European XFEL.

Source names, keys and shapes as the DAQ and the calibration pipeline write them, and as
in EXtra-data; pitches and gaps as in EXtra-geom.
"""

from __future__ import annotations

import math
from dataclasses import replace

from xfelred.detectors import lcls
from xfelred.detectors.description import Detector, Gain, Layout, Segment, Sources
from xfelred.kernels.calibration.rule import Rule
from xfelred.names import DATA_GAIN, GAIN

MM = 1e-3
JUNGFRAU_TAIL = r"(MODULE_|RECEIVER-|JNGFR)(?P<modno>\d+)"

# Chips of 64 x 64 pixels; raw entries hold a second plane, the gain voltage.
AGIPD = Detector(
    "agipd",
    "euxfel",
    segment=Segment((512, 128), 2, 8, (tuple(range(64, 512, 64)), (64,))),
    pitch=(2e-4, 2e-4),
    gain=Gain(Rule(3, codes=(0, 1, 2)), "thresholds", axis=DATA_GAIN),
)
# Chips of 32 x 128 pixels; bits 12 and 13 tell the gain stage.
LPD = Detector(
    "lpd",
    "euxfel",
    segment=Segment((256, 256), 2, 8, (tuple(range(32, 256, 32)), (128,))),
    pitch=(5e-4, 5e-4),
    gain=Gain(Rule(3, 0xFFF, 12, 3, (0, 1, 2)), "bits", axis=GAIN),
)
# Chips of 64 x 64 hexagonal pixels, of which rows are closer than columns.
DSSC = Detector(
    "dssc",
    "euxfel",
    segment=Segment((128, 512), 8, 2, ((64,), tuple(range(64, 512, 64)))),
    pitch=(236e-6 * (1.5 / math.sqrt(3)), 236e-6),
)
# The gain has an array of its own here, which holds the codes of the detector.
JUNGFRAU = replace(
    lcls.JUNGFRAU,
    name="jungfrau_euxfel",
    facility="euxfel",
    aliases=("jngfr",),
    gain=Gain(Rule(3, lcls.LOW_14, codes=(0, 1, 3)), "codes"),
    sources=Sources(
        "JUNGFRAU",
        r"[^/]+_(JNGFR|JF[14]M|JUNGF|JF|JF500K\d?)",
        raw="/DET/" + JUNGFRAU_TAIL,
        corrected="/CORR/" + JUNGFRAU_TAIL,
        data="data.adc",
        mask="data.mask",
        first_number=1,
        inner=("cell",),
        options=("n_modules", "first_modno"),
    ),
)
# Modules are placed one by one.
JUNGFRAU_LAYOUT = Layout(75e-6, 2.0, 0.0, (256, 256), "jungfrau")
PARALLEL = ("parallel_gain",)

DETECTORS = (
    AGIPD,
    AGIPD.sized(
        "AGIPD1M", 16, sources=Sources("AGIPD1M", r"[^/]+_AGIPD1M[^/]*", raw_ndim=4),
        layout=Layout(2e-4, 2.0, 29.0, (64, 128), "agipd"),
    ),
    AGIPD.sized(
        "AGIPD500K", 8,
        sources=Sources("AGIPD500K", r"[^/]+AGIPD500K[^/]*", raw_ndim=4),
    ),
    AGIPD.sized(
        "AGIPD500K2G", 8,
        layout=Layout(2e-4, 2.0, (16.0, 30.0), (64, 128), "agipd500k2g"),
    ),
    AGIPD.sized("AGIPD65K", 1),
    DSSC,
    DSSC.sized(
        "DSSC1M", 16, sources=Sources("DSSC1M", r"[^/]+_DSSC1M[^/]*"),
        layout=Layout(MM, 2.0, 4.0, (128, 256), "dssc", stagger=0.5),
    ),
    LPD,
    LPD.sized(
        "LPD1M", 16,
        sources=Sources("LPD1M", r"[^/]+_LPD1M[^/]*", options=PARALLEL),
        layout=Layout(MM, 2.0, 2.0, (32, 128), "lpd"),
    ),
    LPD.sized(
        "LPDSolo", 1,
        sources=Sources("LPDSolo", r"[^/]+_LPD_SOLO[^/]*", options=PARALLEL),
    ),
    LPD.sized("LPDMini", None, segment=Segment((32, 256), 2, 1, ((), (128,)))),
    JUNGFRAU,
    # Strips: one row of pixels, half as wide in the version with 2560 of them.
    Detector(
        "gotthard2", "euxfel", ("gotthardii", "g2xes"), segment=Segment((1, 1280)),
        pitch=(50e-6, 50e-6),
    ),
)  # fmt: skip
