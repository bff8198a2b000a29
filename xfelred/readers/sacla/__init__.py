"""SACLA: one HDF5 file per run, images and shots by tag."""

from xfelred.readers.sacla.detector import Detector
from xfelred.readers.sacla.open import open_source, recognises
from xfelred.readers.sacla.run import Run

__all__ = ["Detector", "Run", "open_source", "recognises"]
