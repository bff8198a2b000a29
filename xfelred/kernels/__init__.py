"""Plain numpy and numba on blocks: no dask, no xarray, no files."""
