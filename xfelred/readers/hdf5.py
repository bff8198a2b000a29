"""The open files of this process, under the name that tools know."""

from xfelred.hdf5.rows import OPEN_FILES

__all__ = ["OPEN_FILES"]
