"""European XFEL: runs of HDF5 files by train, and multi-module detectors."""

from xfelred.readers.euxfel.extra_data.detectors import (
    AGIPD1M,
    AGIPD500K,
    DSSC1M,
    JUNGFRAU,
    LPD1M,
    LPDSolo,
)
from xfelred.readers.euxfel.extra_data.finding import identify_multimod_detectors
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.extra_data.source_data import SourceData
from xfelred.readers.euxfel.extra_data.stack import stack_detector_data
from xfelred.readers.euxfel.open import H5File, RunDirectory, open_source, recognises
from xfelred.readers.euxfel.run import Run
from xfelred.readers.euxfel.run import Run as DataCollection
from xfelred.readers.selection import by_id, by_index

__all__ = [
    "AGIPD1M",
    "AGIPD500K",
    "DSSC1M",
    "JUNGFRAU",
    "LPD1M",
    "DataCollection",
    "H5File",
    "KeyData",
    "LPDSolo",
    "Run",
    "RunDirectory",
    "SourceData",
    "by_id",
    "by_index",
    "identify_multimod_detectors",
    "open_source",
    "recognises",
    "stack_detector_data",
]
