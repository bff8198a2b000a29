"""Everything that is read from HDF5 files, behind one guard.

`open_file`, `Group` and `Dataset` are for what describes a run; `rows` reads frames.
"""

from h5py import Dataset as NewDataset
from h5py import (
    File,
    SoftLink,
    VirtualLayout,
    VirtualSource,
    string_dtype,
)
from h5py import Group as NewGroup

from xfelred.hdf5.datasets import Dataset, as_text
from xfelred.hdf5.objects import Group, Unreadable, open_file
from xfelred.hdf5.plain import AnyDataset, AnyGroup, described
from xfelred.hdf5.rows import (
    OPEN_FILES,
    find_dataset,
    looked_into,
    open_dataset,
    open_group,
    stored_dataset,
)

__all__ = [
    "OPEN_FILES",
    "AnyDataset",
    "AnyGroup",
    "Dataset",
    "File",
    "Group",
    "NewDataset",
    "NewGroup",
    "SoftLink",
    "Unreadable",
    "VirtualLayout",
    "VirtualSource",
    "as_text",
    "described",
    "find_dataset",
    "looked_into",
    "open_dataset",
    "open_file",
    "open_group",
    "stored_dataset",
    "string_dtype",
]
