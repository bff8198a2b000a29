"""Everything that is read from HDF5 files, behind one guard."""
