"""Multi-module detectors, where scripts of the European XFEL import them from."""

from xfelred.readers.euxfel.detector import Detector as MultimodDetectorBase
from xfelred.readers.euxfel.detectors import (
    AGIPD1M,
    AGIPD500K,
    DSSC1M,
    JUNGFRAU,
    LPD1M,
    LPDSolo,
)
from xfelred.readers.euxfel.detectors import XtdfDetector as XtdfDetectorBase
from xfelred.readers.euxfel.finding import identify_multimod_detectors
from xfelred.readers.euxfel.frame_keys import FrameKeyData as XtdfImageMultimodKeyData
from xfelred.readers.euxfel.module_keys import MultimodKeyData
from xfelred.readers.selection import by_id, by_index

__all__ = [
    "AGIPD1M",
    "AGIPD500K",
    "DSSC1M",
    "JUNGFRAU",
    "LPD1M",
    "LPDSolo",
    "MultimodDetectorBase",
    "MultimodKeyData",
    "XtdfDetectorBase",
    "XtdfImageMultimodKeyData",
    "by_id",
    "by_index",
    "identify_multimod_detectors",
]
