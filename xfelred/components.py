"""Multi-module detectors, where scripts of the European XFEL import them from."""

from xfelred.readers.euxfel.extra_data.detector import Detector as MultimodDetectorBase
from xfelred.readers.euxfel.extra_data.detectors import (
    AGIPD1M,
    AGIPD500K,
    DSSC1M,
    JUNGFRAU,
    LPD1M,
    LPDSolo,
)
from xfelred.readers.euxfel.extra_data.detectors import XtdfDetector as XtdfDetectorBase
from xfelred.readers.euxfel.extra_data.finding import identify_multimod_detectors
from xfelred.readers.euxfel.extra_data.frame_keys import (
    FrameKeyData as XtdfImageMultimodKeyData,
)
from xfelred.readers.euxfel.extra_data.module_keys import MultimodKeyData
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
