"""What is looked at past HDF5 is what HDF5 says, or HDF5 is asked."""

import contextlib
import os

import h5py
import numpy as np
import pytest

from xfelred.errors import XfelredError
from xfelred.hdf5 import described, find_dataset, open_dataset, plain
from xfelred.hdf5.messages import NotPlain
from xfelred.hdf5.plain import PlainDataset, PlainGroup
from xfelred.hdf5.skim import Skim

RNG = np.random.default_rng(0)
TEXTS = ["", "Käse", "a" * 300]
# Names of what is read without HDF5, and of what only its header is.
PAST = [
    "u1",
    "i2",
    "u4",
    "i8",
    "f2",
    "f4",
    "f8",
    "deep/er/i4",
    "no_rows",
    "rows",
    "more_rows",
    "wide",
    "fixed",
    "text",
    "one",
]
HEADER = ["gzip", "tiles", "never", "gaps"]
OTHERS = ["big", "enum", "null", "compact", "compound", "virtual", "outside"]


def write(path, **options):
    with h5py.File(path, "w", **options) as f:
        for kind in ("u1", "i2", "u4", "i8", "f2", "f4", "f8"):
            f[kind] = RNG.integers(0, 100, (5, 3)).astype(kind)
        f["deep/er/i4"] = np.arange(7, dtype="i4")
        f["one"] = 5
        f.create_dataset("no_rows", (0, 4), "f4")
        f.create_dataset("rows", data=np.arange(10), maxshape=(None,), chunks=(4,))
        many = np.arange(2000.0)
        f.create_dataset("more_rows", data=many, maxshape=(None,), chunks=(2,))
        wide = np.arange(60).reshape(10, 2, 3)
        f.create_dataset("wide", data=wide, chunks=(3, 2, 3))
        f["fixed"] = np.array([b"ab", b"cde", b""])
        f["text"] = TEXTS
        f.create_dataset("gzip", data=many, chunks=(50,), compression="gzip")
        f.create_dataset("tiles", data=np.eye(8), chunks=(4, 4))
        f.create_dataset("never", (4,), "i4", fillvalue=3)
        f.create_dataset("gaps", (9,), "i4", chunks=(2,))[5] = 1
        f["big"] = np.arange(3, dtype=">i4")
        f["enum"] = np.array([True, False])
        f["null"] = h5py.Empty("f4")
        f["compound"] = np.zeros(2, [("a", "i4"), ("b", "f8")])
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space, kind = h5py.h5s.create_simple((3,)), h5py.h5t.NATIVE_INT32
        h5py.h5d.create(f.id, b"compact", kind, space, compact).write(
            h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype="i4")
        )
        layout = h5py.VirtualLayout((10,), "i8")
        layout[:] = h5py.VirtualSource(".", "rows", (10,))
        f.create_virtual_dataset("virtual", layout)
        raw = f"{path}.raw"
        np.arange(4.0).tofile(raw)
        external = [(raw, 0, 32)]
        f.create_dataset("outside", (4,), "f8", external=external)
        f.create_group("filled")
        for i in range(40):
            f["filled"].attrs[f"name {i}"] = i
            f["i2"].attrs[f"name {i}"] = "x" * 100
        f["soft"] = h5py.SoftLink("/deep/er")
        f["hard"] = f["deep"]
        for i in range(300):
            f[f"many/{i}/value"] = i


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = str(tmp_path_factory.mktemp("plain") / "a.h5")
    write(found)
    return found


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch):
    monkeypatch.setattr(plain, "SEEN", type(plain.SEEN)())
    monkeypatch.setattr(plain, "OPEN", type(plain.OPEN)())


def all_of(stored):
    return stored.text() if stored.is_text else stored[()]


def check_same(one, other):
    assert (one.shape, one.chunks, one.is_text) == (
        other.shape, other.chunks, other.is_text,
    )  # fmt: skip
    assert (one.ndim, one.size, one.path) == (other.ndim, other.size, other.path)
    assert one.dtype == other.dtype
    parts = [all_of(one), all_of(other)]
    assert type(parts[0]) is type(parts[1])
    np.testing.assert_array_equal(*parts)
    assert getattr(parts[0], "dtype", None) == getattr(parts[1], "dtype", None)
    if one.shape and not one.is_text:
        np.testing.assert_array_equal(one[1:3], other[1:3])
        assert len(one) == len(other)


@pytest.mark.parametrize("name", PAST)
def test_values_are_those_of_hdf5(path, name):
    found = find_dataset(path, f"/{name}")
    assert isinstance(found, PlainDataset)
    found.slow = None  # HDF5 is not asked for values
    check_same(found, open_dataset(path, name))


@pytest.mark.parametrize("name", HEADER)
def test_values_that_only_hdf5_can_read_are_read_by_it(path, name):
    found = find_dataset(path, name)
    assert isinstance(found, PlainDataset)
    check_same(found, open_dataset(path, name))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_of_another_form_is_left_to_hdf5(path, name):
    assert not isinstance(find_dataset(path, name), PlainDataset)


def test_names_are_those_of_hdf5(path):
    root = PlainGroup(plain.plain_file(path))
    with h5py.File(path) as f:
        assert root.names() == sorted(f)
        assert root.group("many").names() == sorted(f["many"])
        below = {n for n in f["many"] for n in (f"{n}/value",)}
    assert set(root.group("many").dataset_names()) == below
    assert root.group("deep").dataset_names() == ["er/i4"]
    assert root.soft_link("soft") == "/deep/er"
    assert root.soft_link("deep") is None
    assert root.dataset("deep") is None
    assert root.dataset("absent/too") is None
    assert root.group("u1") is None
    assert root.group("filled").names() == []
    assert "deep//./er/i4" in root
    assert "absent" not in root
    for name in ("soft/i4", "u1/x", "null"):
        with pytest.raises(NotPlain):
            root.dataset(name)


def test_files_of_another_form_are_left_to_hdf5(tmp_path):
    for i, options in enumerate(({"libver": "latest"}, {"userblock_size": 512})):
        path = str(tmp_path / f"{i}.h5")
        write(path, **options)
        assert plain.plain_file(path) is None
        assert find_dataset(path, "rows").shape == (10,)
        assert described(path, lambda f: f.dataset("rows")[()].sum()) == 45


def test_a_file_that_was_written_again_is_looked_at_again(tmp_path):
    path = str(tmp_path / "a.h5")
    for n in (3, 4):
        with h5py.File(path, "w") as f:
            f["x"] = np.arange(n)
        found = find_dataset(path, "x")
        assert isinstance(found, PlainDataset)
        np.testing.assert_array_equal(found[:], np.arange(n))
        assert [one.path for one in plain.OPEN] == [path]
    with h5py.File(path, "r+") as f:
        f["x"][:] = 7
    np.testing.assert_array_equal(found[:], 7)  # HDF5 was asked


def test_what_somebody_writes_is_left_to_hdf5(tmp_path, monkeypatch):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as f:
        f["x"] = 1
        assert plain.plain_file(path) is None
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    assert plain.plain_file(path) is not None
    with h5py.File(path, "r+") as f:
        f["x"][()] = 2
        assert described(path, lambda f: f.dataset("x")[()]) == 2


def test_files_are_closed_and_opened_again(tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "MOST_OPEN", 2)
    paths = [str(tmp_path / f"{i}.h5") for i in range(5)]
    for i, path in enumerate(paths):
        with h5py.File(path, "w") as f:
            f["x"] = i
    for _ in range(2):
        assert [find_dataset(path, "x")[()] for path in paths] == list(range(5))
        assert len(plain.OPEN) == 2
        assert len(plain.SEEN) == 5
    monkeypatch.setattr(plain, "FEW_OBJECTS", 0)
    monkeypatch.setattr(plain, "MOST_SEEN", 1)
    assert [find_dataset(path, "x")[()] for path in paths] == list(range(5))
    assert len(plain.SEEN) == 1


def damaged(data, rng):
    """Bytes in which some are others."""
    out = bytearray(data)
    at = int(rng.integers(len(out)))
    kind = rng.integers(4)
    if kind == 0:
        out[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        out[at] = int(rng.integers(256))
    elif kind == 2:
        out[at : at + 8] = rng.integers(0, 256, 8, np.uint8).tobytes()[: len(out) - at]
    else:
        out[at : at + 8] = bytes(min(8, len(out) - at))
    return bytes(out)


def read(path, name):
    """What HDF5 has under a name; None where it has nothing, or cannot tell."""
    with contextlib.suppress(Exception), h5py.File(path, "r") as f:
        found = f[name]
        return found.asstr()[()] if h5py.check_string_dtype(found.dtype) else found[()]
    return None


def test_damage_gives_what_hdf5_gives_or_hdf5_is_asked(tmp_path):
    path, copy = str(tmp_path / "a.h5"), str(tmp_path / "b.h5")
    with h5py.File(path, "w") as f:
        f["INDEX/trainId"] = np.arange(10, dtype="u8")
        for i in range(9):
            f[f"INDEX/{i}/first"] = np.arange(10, dtype="u8")
        f["METADATA/names"] = ["CONTROL/a", "INSTRUMENT/b/c"]
        f.create_dataset("c", data=np.arange(20), chunks=(4,), maxshape=(None,))
    names = [
        "INDEX/trainId",
        "METADATA/names",
        "c",
        *(f"INDEX/{i}/first" for i in "08"),
    ]
    with open(path, "rb") as f:
        intact = f.read()
    told = 0
    for seed in range(150):
        with open(copy, "wb") as f:
            f.write(damaged(intact, np.random.default_rng(seed)))
        plain.SEEN.clear()
        file = plain.plain_file(copy)
        for name in names if file is not None else ():
            with contextlib.suppress(NotPlain):
                found = PlainGroup(file).dataset(name)
                values = found and (found.text() if found.is_text else found[()])
                want = read(copy, name)
                told += 1
                assert want is None or np.array_equal(values, want), (seed, name)
    assert told > 300


def test_what_goes_wrong_is_said_as_hdf5_says_it(tmp_path):
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as f:
        f["x"] = np.arange(1000)
    os.truncate(path, os.path.getsize(path) - 100)
    for look in (find_dataset, open_dataset):
        with pytest.raises(XfelredError, match=r"cannot open .*truncated"):
            look(path, "x")
    with pytest.raises(XfelredError, match="No such file"):
        find_dataset(str(tmp_path / "absent.h5"), "x")


def overwritten(path, at, value):
    with open(path, "r+b") as file:
        file.seek(at)
        old = file.read(len(value))
        file.seek(at)
        file.write(value)
    return old


def test_free_lists_and_headers_that_hdf5_refuses_are_left_to_it(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as f:
        f["a"] = np.arange(4)
    data = path.read_bytes()
    heap = data.index(b"HEAP")
    free, place = (
        int.from_bytes(data[heap + i : heap + i + 8], "little") for i in (16, 24)
    )
    header = int.from_bytes(data[64:72], "little")  # of the root, by the superblock
    size = int.from_bytes(data[header + 8 : header + 12], "little")
    for at, value in (
        (place + free + 8, 2**20),  # more is free than there is room
        (heap + 16, 2**20),  # what is free begins behind the end
        (header + 8, size + 8),  # messages that do not fill the header
    ):
        n = 4 if at == header + 8 else 8
        assert list(Skim(str(path)).children("")) == ["a"]
        old = overwritten(path, at, value.to_bytes(n, "little"))
        with pytest.raises(NotPlain):
            Skim(str(path)).children("")
        overwritten(path, at, old)
