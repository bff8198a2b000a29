"""Damaged chunks are errors, whatever the filter; skipped filters are skipped."""

import os
import subprocess
import sys
import zlib

import h5py
import hdf5plugin
import numpy as np
import pytest

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import filters as hdf5_filters
from xfelred.hdf5 import rows as hdf5
from xfelred.lazy import Rows

SHAPE = (8, 32, 32)
WINDOW = (slice(0, 32, 1), slice(0, 32, 1))
FILTERS = {
    "deflate": {"compression": "gzip"},
    "shuffle, deflate": {"compression": "gzip", "shuffle": True},
    "checksum": {"fletcher32": True},
    "bitshuffle": hdf5plugin.Bitshuffle(cname="none"),
    "bitshuffle-lz4": hdf5plugin.Bitshuffle(nelems=64),
    "bitshuffle-zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(nbytes=1000),
    "zstd": hdf5plugin.Zstd(),
    "blosc": hdf5plugin.Blosc(),
    "blosc-zstd": hdf5plugin.Blosc(cname="zstd"),
}
each_filter = pytest.mark.parametrize("name", FILTERS)


@pytest.fixture
def values():
    rng = np.random.default_rng(2)
    return np.round(rng.normal(100, 3, SHAPE)).astype("f4")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a.h5")


def read(path):
    out = np.full(SHAPE, 77, "f4")
    rows = Rows(np.array([0]), np.array([8]), np.array([0]))
    hdf5.read_rows(path, "x", rows, WINDOW, out)
    return out


def chunk_of(path, row=3):
    with h5py.File(path) as f:
        info = f["x"].id.get_chunk_info_by_coord((row, 0, 0))
        return info.byte_offset, info.size


def make(path, values, name):
    with h5py.File(path, "w") as f:
        f.create_dataset("x", data=values, chunks=(1, 32, 32), **FILTERS[name])


def overwrite(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


@each_filter
def test_chunks_are_read_directly(name, path, values):
    make(path, values, name)
    assert hdf5.OPEN_FILES.target(path, "x")[1].layout is not None
    np.testing.assert_array_equal(read(path), values)


@each_filter
@pytest.mark.parametrize("fill", [b"\xff", b"\0"])
def test_overwritten_chunk_is_an_error(name, fill, path, values):
    make(path, values, name)
    offset, size = chunk_of(path)
    overwrite(path, offset, fill * size)
    if name == "bitshuffle":  # nothing could tell
        assert not np.array_equal(read(path), values)
        return
    if name == "checksum":  # that of zeros is zero, that of ones is ones
        assert read(path)[3].tobytes() == fill * 4096
        return
    with pytest.raises(BrokenFileError, match=r"chunk of /x in .*a\.h5, at byte"):
        read(path)


@each_filter
@pytest.mark.parametrize("change", [-1, +1, -40])
def test_chunk_of_another_length_is_an_error(name, change, path, values):
    make(path, values, name)
    with h5py.File(path, "r+") as f:
        _, packed = f["x"].id.read_direct_chunk((3, 0, 0))
        other = packed[:change] if change < 0 else packed + b"\1" * change
        f["x"].id.write_direct_chunk((3, 0, 0), other)
    if change == 1 and "deflate" in name:  # HDF5, too, stops at the end of the stream
        np.testing.assert_array_equal(read(path), values)
        return
    with pytest.raises(BrokenFileError, match="cannot be decompressed"):
        read(path)


def test_unfiltered_chunk_of_another_length_is_an_error(path, values):
    with h5py.File(path, "w") as f:
        d = f.create_dataset("x", data=values, chunks=(1, 32, 32))
        d.id.write_direct_chunk((3, 0, 0), b"\1" * 4000)
    with pytest.raises(BrokenFileError, match="a chunk does not have 4096 bytes"):
        read(path)


@pytest.mark.parametrize("library", ["libdeflate", "isal"])
def test_deflate_stream_that_is_too_long_is_an_error(
    path, values, library, monkeypatch
):
    if library == "isal":
        monkeypatch.setattr(hdf5_filters, "function", lambda library, name: None)
    make(path, values, "deflate")
    with h5py.File(path, "r+") as f:
        bomb = zlib.compress(bytes(100_000_000))
        f["x"].id.write_direct_chunk((3, 0, 0), bomb)
    with pytest.raises(BrokenFileError, match=r"4097 bytes instead|more than 4096"):
        read(path)


@pytest.mark.parametrize("mask", range(8))
def test_any_filter_may_be_skipped_for_a_chunk(mask, path, values):
    options = {"shuffle": True, "compression": "gzip", "fletcher32": True}
    with h5py.File(path, "w") as f:
        d = f.create_dataset("x", data=values, chunks=(1, 32, 32), **options)
        filters = [d.id.get_create_plist().get_filter(i)[0] for i in range(3)]
        assert filters == [2, 1, 3]
        # h5py writes a chunk with the filters that are left.
        kept = {k: v for i, (k, v) in enumerate(options.items()) if not mask >> i & 1}
        e = f.create_dataset("e", data=values, chunks=(1, 32, 32), **kept)
        _, packed = e.id.read_direct_chunk((3, 0, 0))
        d.id.write_direct_chunk((3, 0, 0), packed, mask)
    np.testing.assert_array_equal(read(path), values)


def test_old_files_with_swapped_checksums(path, values):
    make(path, values, "checksum")
    offset, size = chunk_of(path)
    with open(path, "rb") as f:
        f.seek(offset + size - 4)
        a, b, c, d = f.read(4)
    overwrite(path, offset + size - 4, bytes([b, a, d, c]))
    with h5py.File(path) as f:
        np.testing.assert_array_equal(f["x"][...], values)
    np.testing.assert_array_equal(read(path), values)


def test_one_wrong_bit_does_not_agree_with_the_checksum(path, values):
    make(path, values, "checksum")
    offset, _ = chunk_of(path)
    with open(path, "rb") as f:
        f.seek(offset + 1000)
        byte = f.read(1)[0]
    overwrite(path, offset + 1000, bytes([byte ^ 16]))
    with pytest.raises(BrokenFileError, match="checksum does not agree"):
        read(path)


FUZZ = """
import sys, h5py, numpy as np
from xfelred.hdf5 import filters as hdf5_filters
n, *paths = sys.argv[1:]

def damaged(data, i, rng):
    at = rng.integers(0, len(data), 1 + i % 3)
    if i % 4 == 0:
        data[at] ^= (1 << rng.integers(0, 8, len(at))).astype("u1")
    elif i % 4 == 1:  # headers
        data[at % 32 % len(data)] = rng.integers(0, 256, len(at))
    elif i % 4 == 2:
        return data[: at[0]].copy()
    else:
        data[at[0] :] = rng.integers(0, 256, len(data) - at[0])
    return data

for path in paths:
    rng = np.random.default_rng(5)
    with h5py.File(path) as f:
        filters = hdf5_filters.filters_of(f["x"].id.get_create_plist())
        chunks = [f["x"].id.read_direct_chunk((i, 0, 0))[1] for i in range(8)]
    stages = hdf5_filters.pipeline_of(filters)
    refused = 0
    for i in range(int(n)):
        data = damaged(np.frombuffer(chunks[i % 8], "u1").copy(), i, rng)
        try:
            hdf5_filters.decode(stages, 0, data, np.empty(4096, "u1"))
        except ValueError:
            refused += 1
    print(refused)
"""


def fuzz(tmp_path, values, n):
    paths = [str(tmp_path / f"{i}.h5") for i in range(len(FILTERS))]
    for path, name in zip(paths, FILTERS, strict=True):
        make(path, values, name)
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(n), *paths],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    refused = [int(line) for line in done.stdout.split()]
    assert len(refused) == len(FILTERS)
    assert min(refused) > n / 10


def test_damage_never_ends_the_process(tmp_path, values):
    fuzz(tmp_path, values, 500)


@pytest.mark.nightly
def test_much_damage_never_ends_the_process(tmp_path, values):
    fuzz(tmp_path, values, 10_000)


@pytest.mark.parametrize("order", ["ds", "dsf", "fds", "dfs", "sd", "fsd", "sdf"])
@pytest.mark.parametrize("kind", ["u2", "f4", "f8"])
def test_filters_in_any_order_are_undone(path, order, kind):
    data = np.random.default_rng(2).integers(0, 50, (8, 6, 8)).astype(kind)
    with h5py.File(path, "w") as f:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 6, 8))
        add = {
            "d": lambda: plist.set_deflate(4),
            "s": plist.set_shuffle,
            "f": plist.set_fletcher32,
        }
        for letter in order:
            add[letter]()
        space = h5py.h5s.create_simple(data.shape)
        h5py.Dataset(
            h5py.h5d.create(f.id, b"x", h5py.h5t.py_create(data.dtype), space, plist)
        )[:] = data
    out = np.empty_like(data)
    rows = Rows(np.array([0]), np.array([8]), np.array([0]))
    hdf5.read_rows(path, "x", rows, (slice(0, 6, 1), slice(0, 8, 1)), out)
    np.testing.assert_array_equal(out, data)


def test_isal_inflates_where_libdeflate_is_not_installed(path, values, monkeypatch):
    monkeypatch.setattr(hdf5_filters, "function", lambda library, name: None)
    make(path, values, "deflate")
    np.testing.assert_array_equal(read(path), values)
