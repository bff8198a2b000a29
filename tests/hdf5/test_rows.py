"""Direct reads equal h5py bit for bit; what is not proved safe goes through h5py."""

import logging
import os
import threading

import h5py
import numpy as np
import pytest

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import rows as hdf5
from xfelred.lazy import Rows

SHAPE = (40, 6, 8)


def rows_of(*runs):
    start, count, place = (np.array(x) for x in zip(*runs, strict=True))
    return Rows(start, count, place)


RUNS = {
    "all": rows_of((0, 40, 0)),
    "some": rows_of((3, 4, 2), (20, 1, 0), (10, 5, 6)),
    "every third": rows_of(*[(3 * i, 1, i) for i in range(13)]),
    "swapped": rows_of((30, 2, 38), (5, 1, 1)),
}
WINDOWS = {
    "whole": (slice(0, 6, 1), slice(0, 8, 1)),
    "part": (slice(1, 5, 2), slice(3, 8, 1)),
    "picked": (np.array([0, 2, 5]), slice(2, 4, 1)),
}


def create(f, name, values, **options):
    dataset = f.create_dataset(name, values.shape, values.dtype, **options)
    dataset[...] = values
    return dataset


def contiguous(f, values):
    create(f, "x", values)


def chunked(f, values):
    create(f, "x", values, chunks=(1, *values.shape[1:]))


def gzip(f, values):
    create(f, "x", values, chunks=(1, *values.shape[1:]), compression="gzip")


def shuffled(f, values):
    create(
        f, "x", values, chunks=(1, *values.shape[1:]), compression="gzip", shuffle=True
    )


def unwritten(f, values):
    f.create_dataset(
        "x", values.shape, values.dtype, chunks=(1, *values.shape[1:]), fillvalue=7
    )[5:9] = values[5:9]


def never_written(f, values):
    f.create_dataset("x", values.shape, values.dtype, fillvalue=3)


def skipped_filter(f, values):
    d = f.create_dataset(
        "x",
        values.shape,
        values.dtype,
        chunks=(1, *values.shape[1:]),
        compression="gzip",
    )
    d[...] = values
    d.id.write_direct_chunk((4, 0, 0), values[4].tobytes(), filter_mask=1)


def checksum(f, values):
    create(f, "x", values, chunks=(1, *values.shape[1:]), fletcher32=True)


def lzf(f, values):
    create(f, "x", values, chunks=(1, *values.shape[1:]), compression="lzf")


def many_rows_in_a_chunk(f, values):
    create(f, "x", values, chunks=(7, 6, 8))


def big_endian(f, values):
    create(f, "x", values.astype(values.dtype.newbyteorder(">")))


def compact(f, values):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(values.shape)
    kind = h5py.h5t.py_create(values.dtype)
    h5py.h5d.create(f.id, b"x", kind, space, properties)
    f["x"][...] = values


def virtual(f, values):
    create(f, "y", values)
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(f["y"])
    f.create_virtual_dataset("x", layout)


def external(f, values):
    name = f.filename + ".raw"
    f.create_dataset(
        "x", values.shape, values.dtype, external=[(name, 0, h5py.h5f.UNLIMITED)]
    )[...] = values


DIRECT = (
    contiguous, chunked, gzip, shuffled, unwritten, never_written, checksum,
    many_rows_in_a_chunk,
)  # fmt: skip
LIBRARY = (lzf, big_endian, compact, virtual, external)


@pytest.fixture(params=["f4", "u2", "i8", "u1"])
def values(request):
    rng = np.random.default_rng(4)
    return rng.integers(0, 200, SHAPE).astype(request.param)


def make(tmp_path, layout, values, **options):
    path = str(tmp_path / f"{layout.__name__}.h5")
    with h5py.File(path, "w", **options) as f:
        layout(f, values)
    return path


def selected(data, runs, window, out):
    """What `runs` and `window` ask for, by numpy, in `out`."""
    for axis, w in enumerate(window):
        data = data[(slice(None),) * (axis + 1) + (w,)]
    for s, n, p in zip(runs.start, runs.count, runs.place, strict=True):
        out[p : p + n] = data[s : s + n]
    return out


@pytest.mark.parametrize("layout", [*DIRECT, *LIBRARY, skipped_filter])
def test_every_layout_equals_h5py(layout, values, tmp_path):
    # Half of the files begin with something else.
    userblock = 1024 if values.dtype in ("f4", "u1") else 0
    path = make(tmp_path, layout, values, userblock_size=userblock)
    with h5py.File(path, "r") as f:
        data = f["x"][...]
    for name, window in WINDOWS.items():
        shape = (40, *np.empty(SHAPE[1:])[window].shape)
        for runs in RUNS.values():
            for out in (
                np.full(shape, 99, values.dtype),
                np.full(shape, 99, "f8"),
                np.full((40, 2, *shape[1:]), 99, values.dtype)[:, 1],
            ):
                want = selected(data, runs, window, out.copy())
                hdf5.read_rows(path, "x", runs, window, out)
                np.testing.assert_array_equal(out, want, err_msg=name)


@pytest.mark.parametrize("layout", DIRECT)
def test_safe_layouts_are_read_directly(layout, values, tmp_path):
    path = make(tmp_path, layout, values)
    assert hdf5.OPEN_FILES.target(path, "x")[1].layout is not None


@pytest.mark.parametrize("layout", LIBRARY)
def test_other_layouts_are_left_to_h5py_and_that_is_logged_once(
    layout, tmp_path, caplog
):
    path = make(tmp_path, layout, np.ones(SHAPE, "f4"))
    with caplog.at_level(logging.INFO, "xfelred"):
        assert hdf5.OPEN_FILES.target(path, "x")[1].layout is None
        hdf5.OPEN_FILES.target(path, "x")
    assert len([r for r in caplog.records if path in r.message]) == 1


def test_length_one_axis_of_raw_data_is_dropped(tmp_path):
    values = np.arange(40 * 48, dtype="u2").reshape(40, 1, 6, 8)
    path = make(tmp_path, chunked, values)
    out = np.empty((40, 6, 8), "u2")
    hdf5.read_rows(path, "x", RUNS["all"], WINDOWS["whole"], out)
    np.testing.assert_array_equal(out, values[:, 0])


def test_single_values_per_row(tmp_path):
    values = np.arange(40, dtype="u8").reshape(40, 1)
    path = make(tmp_path, chunked, values)
    out = np.empty(40, "u8")
    hdf5.read_rows(path, "x", RUNS["all"], (), out)
    np.testing.assert_array_equal(out, values[:, 0])


def test_rows_beyond_the_dataset_are_refused(values, tmp_path):
    path = make(tmp_path, chunked, values)
    with pytest.raises(BrokenFileError, match=r"row 41 of x, which has 40 rows"):
        hdf5.read_rows(
            path, "x", rows_of((38, 4, 0)), WINDOWS["whole"], np.empty(SHAPE)
        )


@pytest.mark.parametrize("layout", [gzip, shuffled])
def test_damaged_chunk_is_an_error(layout, values, tmp_path):
    path = make(tmp_path, layout, values)
    with h5py.File(path, "r") as f:
        info = f["x"].id.get_chunk_info_by_coord((3, 0, 0))
    with open(path, "r+b") as f:
        f.seek(info.byte_offset)
        f.write(b"\xff" * (info.size // 2))
    with pytest.raises(BrokenFileError, match="decompressed"):
        hdf5.read_rows(path, "x", RUNS["all"], WINDOWS["whole"], np.empty(SHAPE))


def test_replaced_file_is_opened_anew(values, tmp_path):
    path = make(tmp_path, contiguous, values)
    out = np.empty(SHAPE, values.dtype)
    hdf5.read_rows(path, "x", RUNS["all"], WINDOWS["whole"], out)
    other = make(tmp_path, chunked, values + 1)
    os.replace(other, path)
    hdf5.read_rows(path, "x", RUNS["all"], WINDOWS["whole"], out)
    np.testing.assert_array_equal(out, values + 1)


def test_many_threads_and_few_handles(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "OPEN_FILES", hdf5.OpenFiles(3))
    values = np.arange(40 * 48, dtype="f4").reshape(SHAPE)
    paths = []
    for i in range(8):
        (tmp_path / str(i)).mkdir()
        paths.append(make(tmp_path / str(i), (chunked, gzip)[i % 2], values + i))
    wrong = []

    def work(seed):
        order = np.random.default_rng(seed).integers(0, 8, 60)
        for i in order:
            out = np.empty(SHAPE, "f4")
            hdf5.read_rows(paths[i], "x", RUNS["all"], WINDOWS["whole"], out)
            if not np.array_equal(out, values + i):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert len(hdf5.OPEN_FILES.files) <= 3


def test_forked_process_opens_its_own_files(values, tmp_path):
    path = make(tmp_path, gzip, values)
    out = np.empty(SHAPE, values.dtype)
    hdf5.read_rows(path, "x", RUNS["all"], WINDOWS["whole"], out)
    child = os.fork()
    if child == 0:
        again = np.empty(SHAPE, values.dtype)
        hdf5.read_rows(path, "x", RUNS["all"], WINDOWS["whole"], again)
        os._exit(0 if np.array_equal(again, values) else 1)
    assert os.waitpid(child, 0)[1] == 0
