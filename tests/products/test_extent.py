"""Blocks of an array, written into a file each on its own."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.products import extent
from xfelred.products.extent import Extent


@settings(deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 5), min_size=0, max_size=4))
def test_a_block_is_where_numpy_has_it(tmp_path_factory, data, shape):
    cuts = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in shape]
    where = tuple(slice(a, b) for a, b in cuts)
    path = tmp_path_factory.mktemp("extent") / "a"
    wanted = np.arange(100, 100 + np.prod(shape, dtype=int), dtype="i2").reshape(shape)
    path.write_bytes(b"head" + wanted.tobytes())
    block = -np.asarray(wanted[where], "f8").copy(order="F")
    Extent(path, 4, tuple(shape), wanted.dtype)[where] = block
    wanted[where] *= -1
    assert path.read_bytes() == b"head" + wanted.tobytes()


def test_a_disk_that_takes_little_at_a_time(tmp_path, monkeypatch):
    whole, calls = os.pwrite, []

    def little(descriptor, data, at):
        calls.append(at)
        return whole(descriptor, data[:3], at)

    monkeypatch.setattr(extent.os, "pwrite", little)
    path = tmp_path / "a"
    path.write_bytes(bytes(8))
    Extent(path, 0, (2,), np.dtype("f4"))[(slice(0, 2),)] = np.array([1.5, 2.5])
    assert np.fromfile(path, "f4").tolist() == [1.5, 2.5]
    assert calls == [0, 3, 6]


def test_a_file_that_is_gone_is_not_made_again(tmp_path):
    gone = Extent(tmp_path / "a", 0, (2,), np.dtype("f4"))
    with pytest.raises(FileNotFoundError):
        gone[(slice(0, 1),)] = np.zeros(1)
    assert not (tmp_path / "a").exists()
