"""Whatever the layout, `read_rows` gives what h5py gives, bit for bit."""

import os
import tempfile
from dataclasses import dataclass

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.hdf5 import rows as hdf5
from xfelred.lazy import Rows

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]
TYPES += [">f4", ">u2", ">i8"]
FILTERS = {
    "none": {},
    "deflate": {"compression": "gzip", "compression_opts": 1},
    "shuffle": {"shuffle": True},
    "shuffle, deflate": {"compression": "gzip", "shuffle": True},
    "checksum": {"fletcher32": True},
    "all of HDF5": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle-lz4": hdf5plugin.Bitshuffle(),
    "bitshuffle-lz4 in small blocks": hdf5plugin.Bitshuffle(nelems=16),
    "bitshuffle-zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(),
    "lz4 in small blocks": hdf5plugin.LZ4(nbytes=48),
    "zstd": hdf5plugin.Zstd(),
    "blosc": hdf5plugin.Blosc(),
    "blosc-zstd": hdf5plugin.Blosc(cname="zstd", shuffle=2),
    "blosc2": hdf5plugin.Blosc2(),
    "bzip2": hdf5plugin.BZip2(),
    "shuffle, zstd, checksum": {
        **hdf5plugin.Zstd(),
        "shuffle": True,
        "fletcher32": True,
    },
}


@dataclass(frozen=True)
class Stored:
    """How a dataset is stored, and which of its rows were written."""

    shape: tuple
    chunks: tuple | None
    dtype: str
    filters: str
    written: tuple
    fill: int | None
    userblock: int
    libver: str
    skipped: bool
    resizable: bool


@st.composite
def stored(draw):
    shape = draw(st.lists(st.integers(1, 9), min_size=0, max_size=2))
    shape = (draw(st.integers(1, 30)), *shape)
    if len(shape) == 3 and draw(st.booleans()):
        shape = (shape[0], 1, *shape[1:])
    chunks = draw(
        st.one_of(
            st.none(),
            st.just((1, *shape[1:])),
            st.tuples(*(st.integers(1, n) for n in shape)),
        )
    )
    run = st.integers(0, shape[0])
    return Stored(
        shape, chunks, draw(st.sampled_from(TYPES)),
        draw(st.sampled_from(sorted(FILTERS))) if chunks else "none",
        draw(st.one_of(st.just(((0, shape[0]),)),
                       st.lists(st.tuples(run, run), max_size=3).map(tuple))),
        draw(st.sampled_from([None, 0, 5])), draw(st.sampled_from([0, 512])),
        draw(st.sampled_from(["earliest", "latest"])), draw(st.booleans()),
        draw(st.booleans()),
    )  # fmt: skip


@st.composite
def runs_of(draw, n):
    """Runs of rows in any order, that fill places without overlap, in any order."""
    kind = draw(st.sampled_from(["one", "stepped", "single", "several"]))
    if kind == "stepped":
        starts = range(draw(st.integers(0, n - 1)), n, draw(st.integers(1, 4)))
        runs = [(s, 1) for s in starts]
    else:
        most = {"one": 1, "single": 9, "several": 4}[kind]
        runs = []
        for s in draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=most)):
            runs.append((s, 1 if kind == "single" else draw(st.integers(1, n - s))))
    order = draw(st.permutations(range(len(runs)))) if draw(st.booleans()) else None
    place, at = [0] * len(runs), 0
    for i in order if order is not None else range(len(runs)):
        at += draw(st.sampled_from([0, 0, 0, 2]))
        place[i] = at
        at += runs[i][1]
    start, count = (np.array(x) for x in zip(*runs, strict=True))
    return Rows(start, count, np.array(place)), at + draw(st.sampled_from([0, 1]))


@st.composite
def selector(draw, n):
    kind = draw(st.sampled_from(["whole", "slice", "picked"]))
    if kind == "whole":
        return slice(0, n, 1)
    if kind == "picked":
        taken = draw(st.sets(st.integers(0, n - 1), min_size=1))
        return np.array(sorted(taken))
    begin = draw(st.integers(0, n))
    return slice(begin, draw(st.integers(begin, n)), draw(st.integers(1, 3)))


def write(path, how):
    rng = np.random.default_rng(len(repr(how)))
    values = rng.integers(0, 120, how.shape) * rng.integers(0, 2, how.shape)
    values = values.astype(how.dtype)
    options = dict(FILTERS[how.filters])
    if how.chunks and how.resizable:
        options["maxshape"] = (None, *how.shape[1:])
    with h5py.File(path, "w", userblock_size=how.userblock, libver=how.libver) as f:
        d = f.create_dataset(
            "x", how.shape, how.dtype, chunks=how.chunks, fillvalue=how.fill, **options
        )
        for a, b in how.written:
            if a < b:
                d[a:b] = values[a:b]
        n_filters = d.id.get_create_plist().get_nfilters()
        if how.skipped and n_filters:
            chunk = np.full(how.chunks, 5, how.dtype).tobytes()
            d.id.write_direct_chunk((0,) * d.ndim, chunk, (1 << n_filters) - 1)
    with h5py.File(path, "r") as f:
        return f["x"][...]


def destination(draw, shape, dtype):
    kind = draw(st.sampled_from(["plain", "beside others", "every second"]))
    if kind == "plain":
        return np.full(shape, 77, dtype)
    if kind == "beside others":
        return np.full((shape[0], 3, *shape[1:]), 77, dtype)[:, 1]
    wide = np.full([2 * n for n in shape], 77, dtype)
    return wide[tuple(slice(None, None, 2) for _ in shape)]


def same_bits(a, b):
    raw = np.dtype(f"V{a.dtype.itemsize}")
    return np.ascontiguousarray(a).view(raw).tobytes() == (
        np.ascontiguousarray(b).view(raw).tobytes()
    )


def check(how, data):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.h5")
        values = write(path, how)
        if values.ndim > 3:
            values = values[:, 0]
        for _ in range(3):
            rows, n = data.draw(runs_of(len(values)))
            window = tuple(data.draw(selector(m)) for m in values.shape[1:])
            picked = values
            for axis, w in enumerate(window):
                picked = picked[(slice(None),) * (axis + 1) + (w,)]
            native = np.dtype(how.dtype).newbyteorder("=").str
            dtype = data.draw(st.sampled_from([native, native, "f8", "f4", "i4"]))
            out = destination(data.draw, (n, *picked.shape[1:]), dtype)
            want = out.copy()
            for s, m, p in zip(rows.start, rows.count, rows.place, strict=True):
                want[p : p + m] = picked[s : s + m]
            hdf5.read_rows(path, "x", rows, window, out)
            assert same_bits(out, want)
    hdf5.OPEN_FILES.forget(path)


@settings(max_examples=60, deadline=None)
@given(stored(), st.data())
def test_direct_reads_equal_h5py(how, data):
    check(how, data)


@pytest.mark.nightly
@settings(max_examples=600, deadline=None)
@given(stored(), st.data())
def test_direct_reads_equal_h5py_on_many_more_layouts(how, data):
    check(how, data)
