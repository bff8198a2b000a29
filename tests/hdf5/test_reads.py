"""How much is read, in how many calls, and how often a chunk is unpacked."""

import os

import h5py
import numpy as np
import pytest

from xfelred.hdf5 import direct as hdf5_direct
from xfelred.hdf5 import raw as hdf5_raw
from xfelred.hdf5 import rows as hdf5
from xfelred.hdf5 import scratch as hdf5_scratch
from xfelred.hdf5.window import GAP
from xfelred.lazy import Rows

SHAPE = (24, 64, 96)
VALUES = np.arange(np.prod(SHAPE), dtype="f4").reshape(SHAPE)
ROW = 64 * 96 * 4  # bytes
LINE = 96 * 4
WHOLE = (slice(0, 64, 1), slice(0, 96, 1))
WIDE = np.arange(4 * 5 * 8192, dtype="f4").reshape(4, 5, 8192)  # lines beyond GAP


def rows_of(*runs):
    return Rows(*(np.array(x) for x in zip(*runs, strict=True)))


@pytest.fixture
def counted(monkeypatch):
    """Bytes of every call of preadv, and of every piece that the loop reads."""
    calls = []
    real, loop = os.preadv, hdf5_raw.read_ranges

    def ranges(file, start, size, memory, at):
        n = loop(file, start, size, memory, at)
        calls.extend([size] * n)
        return n

    def preadv(*args):
        n = real(*args)
        calls.append(n)
        return n

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(hdf5_raw, "read_ranges", ranges)
    return calls


def make(tmp_path, values=VALUES, **options):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as f:
        f.create_dataset("x", data=values, **options)
    return path


def check(path, rows, window, values=VALUES, out=None):
    """Read, and compare with h5py's values picked by numpy."""
    n = int((rows.place + rows.count).max())
    picked = values
    for axis, w in enumerate(window):
        picked = picked[(slice(None),) * (axis + 1) + (w,)]
    if out is None:
        out = np.full((n, *picked.shape[1:]), 77, values.dtype)
    hdf5.read_rows(path, "x", rows, window, out)
    for s, m, p in zip(rows.start, rows.count, rows.place, strict=True):
        np.testing.assert_array_equal(out[p : p + m], picked[s : s + m])
    return out


UNFILTERED = {
    "contiguous": {},
    "one row in a chunk": {"chunks": (1, 64, 96)},
    "five rows in a chunk": {"chunks": (5, 64, 96)},
}


@pytest.mark.parametrize("layout", UNFILTERED)
def test_whole_rows_are_read_once(tmp_path, counted, layout):
    path = make(tmp_path, **UNFILTERED[layout])
    check(path, rows_of((4, 10, 0), (20, 3, 12)), WHOLE)
    assert sum(counted) == 13 * ROW


@pytest.mark.parametrize("layout", UNFILTERED)
def test_neighbours_are_read_by_one_call(tmp_path, counted, layout):
    path = make(tmp_path, **UNFILTERED[layout])
    check(path, rows_of((0, 24, 0)), WHOLE)
    assert counted == [24 * ROW]


def test_neighbours_go_to_scattered_places_without_a_copy(tmp_path, counted):
    path = make(tmp_path)
    out = np.zeros((24, 2, 64, 96), "f4")[:, 1]
    check(path, rows_of((0, 24, 0)), WHOLE, out=out)
    assert counted == 24 * [ROW]
    assert (out.base.reshape(24, 2, 64, 96)[:, 0] == 0).all()


@pytest.mark.parametrize("most", [1000, 24575, 24577])
def test_short_reads_are_continued(tmp_path, monkeypatch, most):
    real = os.preadv

    def short(fd, views, offset):
        # What the kernel may do at any time: less than was asked for.
        return real(fd, [views[0][:most]], offset)

    monkeypatch.setattr(os, "preadv", short)
    # The loop stops early, so that the rest goes through preadv.
    monkeypatch.setattr(hdf5_raw, "read_ranges", lambda *_: 0)
    path = make(tmp_path)
    check(path, rows_of((0, 24, 0)), WHOLE)
    out = np.zeros((24, 2, 64, 96), "f4")[:, 1]
    check(path, rows_of((0, 24, 0)), WHOLE, out=out)


@pytest.mark.parametrize("layout", UNFILTERED)
def test_lines_of_pixels_are_read_alone(tmp_path, counted, layout):
    path = make(tmp_path, **UNFILTERED[layout])
    check(path, rows_of((2, 3, 0), (9, 1, 3)), (slice(10, 14, 1), slice(0, 96, 1)))
    assert sum(counted) == 4 * 4 * LINE


@pytest.mark.parametrize("layout", UNFILTERED)
def test_a_window_of_pixels_reads_little_more_than_its_lines(tmp_path, counted, layout):
    path = make(tmp_path, **UNFILTERED[layout])
    check(path, rows_of((5, 2, 0)), (slice(10, 14, 1), slice(30, 40, 1)))
    assert sum(counted) == 2 * (3 * LINE + 40)
    assert LINE < GAP


@pytest.mark.parametrize("options", [{}, {"chunks": (2, 5, 8192)}])
def test_far_pieces_are_read_one_by_one(tmp_path, counted, options):
    path = make(tmp_path, WIDE, **options)
    window = (slice(0, 5, 2), slice(100, 300, 1))
    check(path, rows_of((1, 2, 0)), window, WIDE)
    assert sum(counted) == 2 * 3 * 200 * 4
    counted.clear()
    window = (slice(1, 5, 3), slice(100, 300, 2))
    check(path, rows_of((1, 2, 0)), window, WIDE)
    assert sum(counted) == 2 * 2 * (199 * 4)


def test_single_positions_read_only_around_themselves(tmp_path, counted):
    path = make(tmp_path)
    check(path, rows_of((3, 1, 0)), (np.array([20, 21, 23]), slice(0, 96, 1)))
    assert sum(counted) == 4 * LINE


def test_only_chunks_that_the_window_touches_are_read(tmp_path, counted):
    path = make(tmp_path, chunks=(4, 32, 32), compression="gzip")
    with h5py.File(path) as f:
        where = f["x"].id.get_chunk_info_by_coord
        need = [where((r, 32, 64)).size for r in (4, 8)]
    check(path, rows_of((5, 6, 0)), (slice(40, 50, 1), slice(70, 90, 3)))
    # Chunks lie in rows: the two are far from each other.
    assert sorted(counted) == sorted(need)


def test_all_chunks_of_a_row_are_read_by_one_call(tmp_path, counted):
    path = make(tmp_path, chunks=(4, 32, 32))
    check(path, rows_of((4, 8, 0)), WHOLE)
    assert sum(counted) == 8 * ROW
    assert len(counted) == 1


@pytest.fixture
def unpacked(monkeypatch):
    """Every chunk that is unpacked."""
    calls = []
    real = hdf5_direct.decode

    def decode(*args):
        calls.append(1)
        real(*args)

    monkeypatch.setattr(hdf5_direct, "decode", decode)
    return calls


@pytest.mark.parametrize(
    "runs",
    [
        [(0, 24, 0)],
        [(3, 1, 0), (5, 1, 1), (8, 1, 2), (17, 1, 3)],
        [(17, 1, 0), (3, 1, 1), (16, 1, 2), (2, 1, 3)],  # back and forth
        [(3, 1, 4), (3, 1, 0)],  # one row twice
    ],
)
def test_a_chunk_is_unpacked_once(tmp_path, unpacked, runs):
    path = make(tmp_path, chunks=(6, 64, 96), compression="gzip", shuffle=True)
    rows = rows_of(*runs)
    check(path, rows, WHOLE)
    touched = {r // 6 for s, n, _ in runs for r in range(s, s + n)}
    assert len(unpacked) == len(touched)


@pytest.mark.parametrize("chunks", [(1, 64, 96), (6, 64, 96), (1, 16, 96)])
def test_whole_chunks_are_unpacked_into_their_places(tmp_path, monkeypatch, chunks):
    used = []
    real = hdf5_direct.scratch

    def scratch(use, n_bytes):
        used.append(use)
        return real(use, n_bytes)

    monkeypatch.setattr(hdf5_direct, "scratch", scratch)
    path = make(tmp_path, chunks=chunks, compression="gzip", shuffle=True)
    check(path, rows_of((0, 24, 0)), WHOLE)
    assert set(used) == {"packed"}


def test_neighbouring_chunks_are_read_by_one_call(tmp_path, counted):
    path = make(tmp_path, chunks=(1, 64, 96), compression="gzip")
    check(path, rows_of((0, 24, 0)), WHOLE)
    assert len(counted) <= 2


def test_one_row_of_many_chunks_is_left_to_h5py_and_builds_no_index(tmp_path, counted):
    values = np.arange(4000 * 8, dtype="u2").reshape(4000, 8)
    path = make(tmp_path, values, chunks=(1, 8), compression="gzip")
    window = (slice(0, 8, 1),)
    check(path, rows_of((3000, 1, 0)), window, values)
    index = hdf5.OPEN_FILES.target(path, "x")[1].layout.index
    assert index.made is None
    assert not counted
    check(path, rows_of((1000, 100, 0)), window, values)
    assert len(index.made.offset) == 4000
    assert counted


def test_cells_of_one_row_are_read_by_one_call(tmp_path, unpacked):
    values = np.arange(6 * 16 * 32, dtype="f4").reshape(6, 16, 32)
    path = make(tmp_path, values, chunks=(1, 16, 32), compression="gzip")
    flat = values.reshape(96, 32)
    for cells in ([0, 2, 4, 5], [0, 4, 8, 12], [16 * 2 + 3, 16 * 3 + 1, 16 * 3 + 9]):
        unpacked.clear()
        rows = rows_of(*((c, 1, i) for i, c in enumerate(cells)))
        out = np.zeros((len(cells), 32), "f4")
        hdf5.read_cells(path, "x", rows, (slice(0, 32, 1),), out)
        np.testing.assert_array_equal(out, flat[cells])
        assert len(unpacked) == len({c // 16 for c in cells})


def test_thread_keeps_little_memory(tmp_path):
    hdf5_scratch.BUFFERS.kept.clear()
    big = hdf5_scratch.scratch("test", hdf5_scratch.MAX_KEPT + 1)
    assert len(big) == hdf5_scratch.MAX_KEPT + 1
    assert "test" not in hdf5_scratch.BUFFERS.kept
    a, b = hdf5_scratch.scratch("test", 100), hdf5_scratch.scratch("test", 50)
    assert np.shares_memory(a, b)
    path = make(tmp_path, chunks=(6, 64, 96), compression="gzip", shuffle=True)
    check(path, rows_of((0, 24, 0)), (slice(0, 64, 2), slice(0, 96, 1)))
    kept = sum(len(b) for b in hdf5_scratch.BUFFERS.kept.values())
    assert kept < 4 * 6 * ROW
