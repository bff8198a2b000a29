"""Write pixel datasets frame by frame, past the filters and buffers of HDF5.

Frames are compressed in two threads and handed over as finished chunks; what is the
same in every frame (mask, gain) is compressed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import DTypeLike

from xfelred.synth.euxfel.config import Compression
from xfelred.synth.euxfel.layout import Array

Place = tuple[int, ...]

THREADS = 2
BATCH = 16  # frames in memory at a time


def create_pixels(
    group: h5py.Group,
    name: str,
    shape: tuple[int, ...],
    frame_shape: tuple[int, ...],
    *,
    dtype: DTypeLike,
    compression: Compression,
    chunked: bool,
) -> h5py.Dataset:
    """Return a new dataset for frames; chunked: one frame is one chunk."""
    options: dict[str, Any] = {}
    if chunked:
        lead = len(shape) - len(frame_shape)
        options["chunks"] = (1,) * lead + frame_shape
        if not shape[0]:  # HDF5 refuses chunks longer than a dataset that cannot grow
            options["maxshape"] = (None, *shape[1:])
    if compression:
        # Level 1, as `encode` packs.
        options |= {"compression": "gzip", "compression_opts": 1}
        options["shuffle"] = compression == "shuffle+gzip"
    return group.create_dataset(name, shape, dtype, **options)


def write_frames(
    dataset: h5py.Dataset, places: Iterable[Place], frames: Iterable[Array]
) -> None:
    if dataset.chunks is None:
        for place, frame in zip(places, frames, strict=True):
            dataset[place] = frame
        return
    write_chunks(dataset, places, encoded(dataset, frames))


def write_same(dataset: h5py.Dataset, places: Sequence[Place], frame: Array) -> None:
    frame = np.ascontiguousarray(frame, dtype=dataset.dtype)
    if dataset.chunks is None:
        for place in places:
            dataset[place] = frame
        return
    chunk = encode(frame, bool(dataset.shuffle), bool(dataset.compression))
    write_chunks(dataset, places, itertools.repeat(chunk, len(places)))


def write_chunks(
    dataset: h5py.Dataset, places: Iterable[Place], chunks: Iterable[Any]
) -> None:
    n_axes, write = dataset.ndim, dataset.id.write_direct_chunk
    for place, chunk in zip(places, chunks, strict=True):
        write(place + (0,) * (n_axes - len(place)), chunk)


def encoded(dataset: h5py.Dataset, frames: Iterable[Array]) -> Iterator[Any]:
    """Yield frames as the bytes of a chunk, compressed in threads."""
    if not dataset.compression:
        yield from frames
        return
    shuffle = itertools.repeat(bool(dataset.shuffle))
    compress = itertools.repeat(True)
    frames = iter(frames)
    with ThreadPoolExecutor(THREADS) as pool:
        while batch := list(itertools.islice(frames, BATCH)):
            yield from pool.map(encode, batch, shuffle, compress)


def encode(frame: Array, shuffle: bool, compress: bool) -> Any:
    """Return a frame as HDF5's shuffle and deflate filters would leave it."""
    data = np.ascontiguousarray(frame)
    if shuffle:  # all first bytes of the numbers, then all second ones
        width = data.dtype.itemsize
        data = np.ascontiguousarray(data.view(np.uint8).reshape(-1, width).T)
    if compress:
        return isal_zlib.compress(data.data, level=1)
    return data
