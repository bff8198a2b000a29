"""Facts about the multi-module detectors of the European XFEL.

Source names, module shapes and keys as the DAQ and the calibration pipeline write them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

XTDF_RAW = r"/DET/(?P<modno>\d+)CH"
XTDF_CORR = r"/CORR/(?P<modno>\d+)CH"
JUNGFRAU_TAIL = r"(MODULE_|RECEIVER-|JNGFR)(?P<modno>\d+)"


@dataclass(frozen=True)
class DetectorSpec:
    """One kind of detector.

    Attributes
    ----------
    name : str
        Pattern of the detector name, the start of its source names.
    raw, corrected : str
        Pattern of what follows in source names, with the module number.
    n_modules : int or None
        None: it depends on the installation.
    module_shape : (int, int)
        Pixels along slow_scan and fast_scan.
    data, mask : str
        Keys of the pixels and of their bad-pixel bits.
    inner : tuple of str
        Axes of an entry that count frames (memory cells).
    raw_ndim : int or None
        Number of axes of raw pixel data, if that tells them from corrected ones;
        None: raw data are integers.
    """

    name: str
    n_modules: int | None
    module_shape: tuple[int, int]
    raw: str = XTDF_RAW
    corrected: str = XTDF_CORR
    data: str = "image.data"
    mask: str = "image.mask"
    first_number: int = 0
    inner: tuple[str, ...] = ()
    raw_ndim: int | None = None

    def match(self, source: str) -> tuple[str, int, bool] | None:
        """Return (detector, module number, whether below /CORR/) for a source name."""
        for tail, corrected in ((self.raw, False), (self.corrected, True)):
            found = re.match(f"(?P<detector>{self.name}){tail}", source)
            if found:
                return found["detector"], int(found["modno"]), corrected
        return None


SPECS = {
    "AGIPD1M": DetectorSpec(r"[^/]+_AGIPD1M[^/]*", 16, (512, 128), raw_ndim=4),
    "AGIPD500K": DetectorSpec(r"[^/]+AGIPD500K[^/]*", 8, (512, 128), raw_ndim=4),
    "DSSC1M": DetectorSpec(r"[^/]+_DSSC1M[^/]*", 16, (128, 512)),
    "LPD1M": DetectorSpec(r"[^/]+_LPD1M[^/]*", 16, (256, 256)),
    "LPDSolo": DetectorSpec(r"[^/]+_LPD_SOLO[^/]*", 1, (256, 256)),
    "JUNGFRAU": DetectorSpec(
        r"[^/]+_(JNGFR|JF[14]M|JUNGF|JF|JF500K\d?)",
        None,
        (512, 1024),
        raw="/DET/" + JUNGFRAU_TAIL,
        corrected="/CORR/" + JUNGFRAU_TAIL,
        data="data.adc",
        mask="data.mask",
        first_number=1,
        inner=("cell",),
    ),
}
