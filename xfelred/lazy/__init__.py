"""The only place that builds dask graphs."""
