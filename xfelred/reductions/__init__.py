"""Reductions: sums of blocks that add up, and what becomes of them at the end.

Each is a small value with three pieces, ``partial``, ``combine`` and ``finish``, on
plain arrays. It knows no dask, no xarray and no file; the engine of `xfelred.lazy`
knows no statistics. A new one is a class here and an operation that hands it to
`xfelred.lazy.reduce_frames`.
"""
