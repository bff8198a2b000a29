"""Heaps of text in which HDF5 would go in circles."""

import itertools
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import open_file

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["delay", "time in s", "x" * 40]
READ = """
import sys
from xfelred.hdf5 import open_file
from xfelred.errors import BrokenFileError
for path in sys.argv[1:]:
    with open_file(path) as file:
        try:
            print([str(file.dataset(f"t{i}").text()) for i in range(3)], flush=True)
        except BrokenFileError as error:
            print(error, flush=True)
"""


def written(path):
    with h5py.File(path, "w") as file:
        for i, text in enumerate(TEXTS):
            file.create_dataset(f"t{i}", data=text, dtype=h5py.string_dtype())
    return path


def read(*paths):
    """What is read in a process of its own, which may not come back."""
    return subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    ).stdout.splitlines()  # fmt: skip


def test_a_heap_that_is_overwritten_is_an_error(tmp_path):
    sound = written(tmp_path / "a.h5")
    data = sound.read_bytes()
    paths = []
    for start, fill in itertools.product([4, 16, 24], [b"\xff", b"\0"]):
        at = data.index(b"GCOL") + 16 + start
        path = tmp_path / f"{start}-{fill[0]}.h5"
        path.write_bytes(data[:at] + fill * 512 + data[at + 512 :])
        paths.append(path)
    first, *found = read(sound, *paths)
    assert first == str(TEXTS)
    assert len(found) == len(paths) == 6
    for path, line in zip(paths, found, strict=True):
        assert str(path) in line
        assert "cannot read t" in line


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["one"] = "scan"
        f["many"] = ["x", "", "yy"]
        f.create_dataset("chunks", data=["u", "v"], chunks=(1,), maxshape=(None,))
    return str(tmp_path / "a.h5")


def overwrite(path, at, data):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


def places(path):
    """The first byte of the stored places of texts, by dataset."""
    with h5py.File(path) as f:
        found = {name: f[name].id.get_offset() for name in ("one", "many")}
        return found | {"chunks": f["chunks"].id.get_chunk_info(0).byte_offset}


def test_sound_text_is_read(path):
    with open_file(path) as root:
        assert root["one"].text() == "scan"
        assert root["many"].text().tolist() == ["x", "", "yy"]
        assert root["chunks"].text(slice(1, 2)).tolist() == ["v"]


@pytest.mark.parametrize("name", ["one", "many", "chunks"])
def test_a_text_longer_than_its_file_is_refused(path, name):
    overwrite(path, places(path)[name], struct.pack("<I", 3_000_000_000))
    with (
        open_file(path) as root,
        pytest.raises(BrokenFileError, match=f"{name} in .* 3000000000 bytes"),
    ):
        root[name][()]


@pytest.mark.parametrize("name", ["one", "many", "chunks"])
def test_a_heap_without_an_end_is_refused(path, name):
    """Free space of no size: HDF5 would look at it for ever."""
    with open(path, "rb") as f:
        data = f.read()
    at = places(path)[name]
    _, heap, _ = struct.unpack_from("<IQI", data, at)
    assert data[heap : heap + 4] == b"GCOL"
    where, end = heap + 16, heap + struct.unpack_from("<Q", data, heap + 8)[0]
    while where < end:
        number, size = struct.unpack_from("<H6xQ", data, where)
        if not number:
            break
        where += 16 + -(-size // 8) * 8
    assert number == 0
    overwrite(path, where + 8, struct.pack("<Q", 0))
    with (
        open_file(path) as root,
        pytest.raises(BrokenFileError, match=f"{name} in .* heap"),
    ):
        root[name][()]
