"""LCLS small data: one HDF5 file per run with one row per event."""

from xfelred.readers.lcls_smalldata.open import open_source, recognises
from xfelred.readers.lcls_smalldata.run import Run

__all__ = ["Run", "open_source", "recognises"]
