"""What cannot be read directly goes through h5py, is right, and is said once."""

import logging
import os
import shutil
import subprocess
import sys
import time

import h5py
import hdf5plugin
import numpy as np
import pytest

from xfelred.errors import BrokenFileError, MissingExtraError
from xfelred.hdf5 import filters as hdf5_filters
from xfelred.hdf5 import rows as hdf5
from xfelred.lazy import Rows

VALUES = np.arange(20 * 6, dtype="f4").reshape(20, 6)
WHOLE = (slice(0, 6, 1),)


def read(path, name="x", window=WHOLE, dtype="f4", n=20):
    out = np.full((n, *(len(range(*w.indices(99))) for w in window)), 77, dtype)
    rows = Rows(np.array([0]), np.array([n]), np.array([0]))
    hdf5.read_rows(str(path), name, rows, window, out)
    return out


def is_direct(path, name="x"):
    return hdf5.OPEN_FILES.target(str(path), name)[1].layout is not None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def half_precision_bits(f):
    kind = h5py.h5t.NATIVE_UINT16.copy()
    kind.set_precision(12)
    space = h5py.h5s.create_simple(VALUES.shape)
    h5py.h5d.create(f.id, b"x", kind, space)
    f["x"][...] = VALUES


def zero_size(f):
    f.create_dataset("x", (20, 0), "f4")


FALLBACKS = {
    "its type is bool": lambda f: f.create_dataset("x", data=VALUES > 5),
    "its type is complex": lambda f: f.create_dataset("x", data=VALUES.astype("c8")),
    "is not that of this machine": lambda f: f.create_dataset(
        "x", data=VALUES.astype(">f4")
    ),
    "not that of this machine": half_precision_bits,
    "its shape is": zero_size,
    "of its HDF5 filters [32000]": lambda f: f.create_dataset(
        "x", data=VALUES, chunks=(4, 6), compression="lzf"
    ),
    "of its HDF5 filters [6]": lambda f: f.create_dataset(
        "x", data=VALUES.astype("i4"), chunks=(4, 6), scaleoffset=0
    ),
    "of its HDF5 filters [307]": lambda f: f.create_dataset(
        "x", data=VALUES, chunks=(4, 6), **hdf5plugin.BZip2()
    ),
}


@pytest.mark.parametrize("reason", FALLBACKS)
def test_reason_is_logged_once_and_values_are_right(reason, path, caplog):
    with h5py.File(path, "w") as f:
        FALLBACKS[reason](f)
    with h5py.File(path) as f:
        want, shape = f["x"][...], f["x"].shape
    with caplog.at_level(logging.INFO, "xfelred"):
        for _ in range(2):
            got = read(path, "x", (slice(0, shape[1], 1),), want.dtype)
            np.testing.assert_array_equal(got, want)
    said = [r.getMessage() for r in caplog.records if str(path) in r.getMessage()]
    assert len(said) == 1
    assert reason in said[0]
    assert said[0].startswith(f"x in {path} is read through h5py: ")


def test_half_precision_floats_are_read_directly(path):
    with h5py.File(path, "w") as f:
        f["x"] = VALUES.astype("f2")
    assert is_direct(path)
    np.testing.assert_array_equal(read(path, dtype="f2"), VALUES)


def test_enum_and_compound_types(path):
    with h5py.File(path, "w") as f:
        kind = h5py.enum_dtype({"OFF": 0, "ON": 1}, basetype="u1")
        f.create_dataset("e", data=np.tile([0, 1, 1, 0, 1, 1], (20, 1)), dtype=kind)
        table = np.zeros(20, [("a", "f4"), ("b", "i2")])
        table["a"] = np.arange(20)
        f["c"] = table
    np.testing.assert_array_equal(read(path, "e", dtype="u1")[3], [0, 1, 1, 0, 1, 1])
    np.testing.assert_array_equal(read(path, "c", (), table.dtype), table)
    assert not is_direct(path, "e")
    assert not is_direct(path, "c")


# ---------------------------------------------------------------- other files


def test_external_link_is_read_from_the_other_file(path, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as f:
        f["group/y"] = VALUES + 1000
        f["group/z"] = h5py.SoftLink("y")
    with h5py.File(path, "w") as f:
        # Of the same size: the offset of the other file points at other values.
        f["trap"] = VALUES
        f["x"] = h5py.ExternalLink("other.h5", "group/y")
        f["inside"] = h5py.ExternalLink("other.h5", "group")
        f["soft"] = h5py.SoftLink("inside/z")
        f["same"] = h5py.SoftLink("trap")
    for name in ("x", "inside/y", "inside/z", "soft"):
        np.testing.assert_array_equal(read(path, name), VALUES + 1000)
        assert not is_direct(path, name)
    assert is_direct(path, "same")
    np.testing.assert_array_equal(read(path, "same"), VALUES)


def test_file_behind_an_external_link_may_be_replaced_and_cut_off(path, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as f:
        f["y"] = VALUES
    with h5py.File(path, "w") as f:
        f["x"] = h5py.ExternalLink("other.h5", "y")
    np.testing.assert_array_equal(read(path), VALUES)
    with h5py.File(tmp_path / "new.h5", "w") as f:
        f["pad"] = np.arange(3)
        f["y"] = VALUES + 1
    os.replace(tmp_path / "new.h5", other)
    np.testing.assert_array_equal(read(path), VALUES + 1)
    os.truncate(other, os.path.getsize(other) - 100)
    with pytest.raises(BrokenFileError, match="other"):
        read(path)


def test_external_link_to_nothing(path):
    with h5py.File(path, "w") as f:
        f["x"] = h5py.ExternalLink("gone.h5", "y")
    with pytest.raises(BrokenFileError, match=r"a\.h5"):
        read(path)


def test_external_storage_that_is_too_short_is_an_error(path, tmp_path):
    raw = tmp_path / "x.raw"
    with h5py.File(path, "w") as f:
        f.create_dataset(
            "x", (20, 6), "f4", external=[(str(raw), 16, h5py.h5f.UNLIMITED)]
        )[...] = VALUES
    np.testing.assert_array_equal(read(path), VALUES)
    assert not is_direct(path)
    os.truncate(raw, 400)
    with pytest.raises(BrokenFileError, match=r"x\.raw.*has 400 bytes instead of 496"):
        read(path)
    raw.unlink()
    with pytest.raises(BrokenFileError, match=r"x\.raw.*missing"):
        read(path)


# ------------------------------------------------------------ virtual datasets


def virtual(path, sources, shape=(20, 6)):
    layout = h5py.VirtualLayout(shape, "f4")
    for source, place in sources:
        layout[place] = source
    with h5py.File(path, "w") as f:
        f.create_virtual_dataset("x", layout, fillvalue=-1)


@pytest.fixture
def halves(tmp_path):
    """Two files with the upper and the lower half of VALUES."""
    made = []
    for i in range(2):
        made.append(tmp_path / f"part{i}.h5")
        with h5py.File(made[i], "w") as f:
            f["y"] = VALUES[10 * i : 10 * i + 10]
    return made


def source(name, shape=(10, 6)):
    return h5py.VirtualSource(str(name), "y", shape)


@pytest.mark.parametrize("relative", [True, False])
def test_virtual_dataset_without_a_source_is_an_error(path, halves, relative):
    names = [p.name if relative else p for p in halves]
    virtual(path, [(source(names[0]), np.s_[:10]), (source(names[1]), np.s_[10:])])
    np.testing.assert_array_equal(read(path), VALUES)
    halves[1].rename(str(halves[1]) + ".away")
    with pytest.raises(BrokenFileError, match=r"virtual dataset /x in .*a\.h5 .*part1"):
        read(path)
    os.rename(str(halves[1]) + ".away", halves[1])
    np.testing.assert_array_equal(read(path), VALUES)


def test_virtual_dataset_with_an_unreadable_source(path, halves):
    virtual(
        path, [(source(p), np.s_[10 * i : 10 * i + 10]) for i, p in enumerate(halves)]
    )
    halves[0].write_bytes(b"nothing")
    with pytest.raises(BrokenFileError, match=r"part0.*cannot be opened"):
        read(path)


def test_virtual_dataset_whose_source_lacks_the_dataset(path, halves):
    virtual(
        path, [(source(p), np.s_[10 * i : 10 * i + 10]) for i, p in enumerate(halves)]
    )
    with h5py.File(halves[1], "a") as f:
        del f["y"]
    with pytest.raises(BrokenFileError, match=r"needs y, which .*part1"):
        read(path)


def test_virtual_dataset_of_a_virtual_dataset(path, halves, tmp_path):
    middle = tmp_path / "middle.h5"
    virtual(
        middle, [(source(p), np.s_[10 * i : 10 * i + 10]) for i, p in enumerate(halves)]
    )
    virtual(path, [(h5py.VirtualSource("middle.h5", "x", (20, 6)), np.s_[:])])
    np.testing.assert_array_equal(read(path), VALUES)
    halves[0].unlink()
    with pytest.raises(BrokenFileError, match=r"/x in .*middle\.h5 needs y .*part0"):
        read(path)


def test_virtual_dataset_of_its_own_file(path):
    layout = h5py.VirtualLayout((20, 6), "f4")
    with h5py.File(path, "w") as f:
        f["y"] = VALUES
        layout[...] = h5py.VirtualSource(f["y"])
        f.create_virtual_dataset("x", layout)
    np.testing.assert_array_equal(read(path), VALUES)


def test_virtual_dataset_of_numbered_files(path, tmp_path):
    for i in range(3):
        with h5py.File(tmp_path / f"n{i}.h5", "w") as f:
            f.create_dataset("y", data=VALUES[5 * i : 5 * i + 5])
    with h5py.File(path, "w", libver="latest") as f:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        space = h5py.h5s.create_simple((0, 6), (h5py.h5s.UNLIMITED, 6))
        space.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (5, 6), (5, 6))
        inner = h5py.h5s.create_simple((5, 6))
        properties.set_virtual(space, b"n%b.h5", b"y", inner)
        outer = h5py.h5s.create_simple((0, 6), (h5py.h5s.UNLIMITED, 6))
        kind = h5py.h5t.py_create(np.dtype("f4"))
        h5py.h5d.create(f.id, b"x", kind, outer, properties)
    np.testing.assert_array_equal(read(path, n=15), VALUES[:15])
    (tmp_path / "n0.h5").unlink()
    with pytest.raises(BrokenFileError, match=r"n0\.h5"):
        read(path, n=15)


# -------------------------------------------------------- files being written


def test_file_that_this_process_writes(path):
    with h5py.File(path, "w") as f:
        f["x"] = VALUES
        f.flush()
        f["x"][:] = VALUES + 5  # may still be in memory only
        np.testing.assert_array_equal(read(path), VALUES + 5)
        assert not is_direct(path)
    np.testing.assert_array_equal(read(path), VALUES + 5)
    assert is_direct(path)


WRITER = """
import sys, h5py, numpy as np
f = h5py.File(sys.argv[1], "w", libver="latest")
x = f.create_dataset("x", (0, 6), "f4", maxshape=(None, 6), chunks=(4, 6))
f.swmr_mode = True
for line in sys.stdin:
    n = int(line)
    x.resize((n, 6))
    x[:] = np.arange(n * 6).reshape(n, 6)
    x.flush()
    print(n, flush=True)
"""


def test_file_that_another_process_writes_for_many_readers(path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        for n in (8, 20):
            writer.stdin.write(f"{n}\n")
            writer.stdin.flush()
            writer.stdout.readline()
            np.testing.assert_array_equal(read(path, n=n), VALUES[:n])
            assert not is_direct(path)
        writer.stdin.close()
        writer.wait(30)
    np.testing.assert_array_equal(read(path), VALUES)
    assert is_direct(path)


def test_file_that_another_process_holds_for_itself(path):
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'w'); f['x'] = 1; f.flush();"
    code += "print('open', flush=True); sys.stdin.read()"
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        writer.stdout.readline()
        with pytest.raises(BrokenFileError, match="still being copied"):
            read(path)
        writer.stdin.close()


# ------------------------------------------------------------ missing filters

ALONE = """
import builtins, sys
sys.modules["hdf5plugin"] = None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n == "hdf5plugin" else real(n, *a)
import numpy as np
from xfelred.errors import XfelredError
from xfelred.lazy import Rows
from xfelred.hdf5 import rows as hdf5
for name in sys.argv[2:]:
    out = np.zeros((20, 6), "f4")
    rows = Rows(np.array([0]), np.array([20]), np.array([0]))
    try:
        hdf5.read_rows(sys.argv[1], name, rows, (slice(0, 6, 1),), out)
        print(name, "right" if out.ravel().tolist() == list(range(120)) else "wrong")
    except XfelredError as error:
        print(name, type(error).__name__, error)
"""


def test_without_hdf5plugin(path):
    with h5py.File(path, "w") as f:
        options = {
            "zstd": hdf5plugin.Zstd(),
            "blosc": hdf5plugin.Blosc(),
            "bitshuffle": hdf5plugin.Bitshuffle(),
            "lz4": hdf5plugin.LZ4(),
            "bzip2": hdf5plugin.BZip2(),
        }
        for name, option in options.items():
            f.create_dataset(name, data=VALUES, chunks=(4, 6), **option)
    env = {k: v for k, v in os.environ.items() if k != "HDF5_PLUGIN_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(path), *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**env, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == ["zstd right", "blosc right"]
    for name, line in zip(["bitshuffle", "lz4", "bzip2"], lines[2:], strict=True):
        assert line.startswith(f"{name} MissingExtraError")
        assert "pip install 'xfelred[hdf5]'" in line


def test_filter_that_nobody_knows(path):
    with h5py.File(path, "w") as f:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((4, 6))
        properties.set_filter(311, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((20, 6))
        h5py.h5d.create(f.id, b"x", h5py.h5t.NATIVE_FLOAT, space, properties)
    with pytest.raises(BrokenFileError, match=r"filter 311.*HDF5_PLUGIN_PATH"):
        read(path)


def test_entries_behind_a_plugin_filter(path):
    with h5py.File(path, "w") as f:
        f.create_dataset("x", data=VALUES, chunks=(4, 6), **hdf5plugin.Zstd())
    np.testing.assert_array_equal(hdf5.read_entries(str(path), "x", 3, 2), VALUES[3:5])
    assert issubclass(MissingExtraError, ImportError)
    assert hdf5_filters.ZSTD in hdf5_filters.FROM_HDF5PLUGIN


def test_copied_file_keeps_its_virtual_sources(path, halves, tmp_path):
    virtual(
        path,
        [(source(p.name), np.s_[10 * i : 10 * i + 10]) for i, p in enumerate(halves)],
    )
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "a.h5"
    shutil.copy(path, copy)
    with pytest.raises(BrokenFileError, match="part0"):
        read(copy)
    for p in halves:
        shutil.copy(p, tmp_path / "elsewhere")
    time.sleep(0.01)
    np.testing.assert_array_equal(read(copy), VALUES)
