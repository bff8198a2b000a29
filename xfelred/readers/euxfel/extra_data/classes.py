"""Classes under EXtra-data's names, for ``isinstance`` and annotations."""

from xfelred.readers.euxfel.key_data import KeyData
from xfelred.readers.euxfel.run import Run as DataCollection
from xfelred.readers.euxfel.source_data import SourceData

__all__ = ["DataCollection", "KeyData", "SourceData"]
