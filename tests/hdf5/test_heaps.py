"""Heaps of text in which HDF5 would go in circles."""

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["delay", "time in s", "x" * 40]
READ = """
import sys
from xfelred.hdf5 import open_file
from xfelred.errors import BrokenFileError
with open_file(sys.argv[1]) as file:
    try:
        print([str(file.dataset(f"t{i}").text()) for i in range(3)])
    except BrokenFileError as error:
        print(error)
"""


def written(path):
    with h5py.File(path, "w") as file:
        for i, text in enumerate(TEXTS):
            file.create_dataset(f"t{i}", data=text, dtype=h5py.string_dtype())
    return path


def read(path):
    """What is read in a process of its own, which may not come back."""
    return subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    ).stdout.strip()  # fmt: skip


def test_texts_of_an_intact_heap_are_read(tmp_path):
    assert read(written(tmp_path / "a.h5")) == str(TEXTS)


@pytest.mark.parametrize("fill", [b"\xff", b"\0"])
@pytest.mark.parametrize("start", [4, 16, 24])
def test_a_heap_that_is_overwritten_is_an_error(tmp_path, fill, start):
    path = written(tmp_path / "a.h5")
    data = path.read_bytes()
    at = data.index(b"GCOL") + 16 + start
    path.write_bytes(data[:at] + fill * 512 + data[at + 512 :])
    found = read(path)
    assert str(path) in found
    assert "cannot read t" in found
