"""Pieces of a file in memory, against plain slices of its bytes."""

import os

import numpy as np
import pytest

from xfelred.errors import BrokenFileError
from xfelred.hdf5.raw import RawFile
from xfelred.kernels.gather import read_ranges

SIZE = 10


@pytest.fixture
def content(tmp_path):
    """A file of 1000 random bytes."""
    data = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8)
    data.tofile(tmp_path / "data")
    return tmp_path / "data", data


@pytest.mark.parametrize(
    ("start", "at"),
    [
        ([0, 10, 20], [0, 10, 20]),
        ([0, 10, 20], [20, 10, 0]),
        ([500, 0, 10, 990], [0, 30, 40, 10]),
        ([7], [3]),
        ([], []),
    ],
)
def test_pieces_go_to_their_places(content, start, at):
    path, data = content
    out, expected = np.zeros(50, np.uint8), np.zeros(50, np.uint8)
    for s, a in zip(start, at, strict=True):
        expected[a : a + SIZE] = data[s : s + SIZE]
    start, at = np.array(start, np.int64), np.array(at, np.int64)
    RawFile(str(path)).gather(start, SIZE, out.data, at, "images")
    np.testing.assert_array_equal(out, expected)


def test_pieces_before_the_end_of_the_file_are_counted(content):
    path, data = content
    out = np.zeros(40, np.uint8)
    start = np.array([0, 980, 990, 1000], np.int64)
    at = np.array([0, 10, 20, 30], np.int64)
    file = os.open(path, os.O_RDONLY)
    assert read_ranges(file, start, SIZE, out.ctypes.data, at) == 3
    os.close(file)
    np.testing.assert_array_equal(out[10:30], data[980:])


def test_end_of_the_file_is_an_error_that_names_the_dataset(content):
    start, at = np.array([0, 995], np.int64), np.array([0, 10], np.int64)
    with pytest.raises(BrokenFileError, match=r"ends at byte 1000.*images"):
        RawFile(str(content[0])).gather(
            start, SIZE, memoryview(bytearray(20)), at, "images"
        )


def test_descriptor_that_cannot_be_read_is_an_error_of_the_system(content):
    raw = RawFile(str(content[0]))
    os.close(raw.number)
    start = at = np.array([0, 10], np.int64)
    with pytest.raises(OSError, match="Bad file descriptor"):
        raw.gather(start, SIZE, memoryview(bytearray(20)), at, "images")
    del raw.number


@pytest.mark.parametrize("at", [[0, 11], [-1, 10]])
def test_memory_around_is_not_written(content, at):
    start = np.array([0, 10], np.int64)
    with pytest.raises(ValueError, match="outside their memory"):
        RawFile(str(content[0])).gather(
            start, SIZE, memoryview(bytearray(20)), np.array(at, np.int64), "images"
        )
