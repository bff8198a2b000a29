"""Chunks that are made outside of HDF5: HDF5 reads what it would have written."""

import pickle
from itertools import product

import h5py
import numpy as np
import pytest

from xfelred.products.hdf5_chunks import chunks_of, early

SHAPE, CHUNK = (7, 10, 6), (2, 5, 6)


def storage(packed):
    gzip = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    return gzip if packed else {"dcpl": early()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["f4", "u1", "i8", "?", "c8"])
def test_hdf5_reads_what_others_wrote(tmp_path, kind, packed):
    rng, path = np.random.default_rng(1), tmp_path / "a.h5"
    values = rng.integers(0, 2, SHAPE).astype(kind)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("a", SHAPE, kind, chunks=CHUNK, **storage(packed))
        chunks = chunks_of(data, path)
        for a, b in product(range(0, 7, 4), range(0, 10, 5)):
            where = slice(a, min(a + 4, 7)), slice(b, b + 5), slice(0, 6)
            # Some workers die: what they did is done again.
            for _ in range(2):
                mine = pickle.loads(pickle.dumps(chunks.of(where)))
                left = mine.put(where, values[where])
            assert len(left) == (packed and -(-(where[0].stop - a) // 2))
            for corner, content in left:
                data.id.write_direct_chunk(corner, content)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["a"][()], values)


def test_only_whole_chunks_are_made_elsewhere(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", SHAPE, "f4", chunks=CHUNK, dcpl=early())
        chunks = chunks_of(data, tmp_path / "a.h5")
    whole = slice(0, 6)
    assert chunks.fit((slice(2, 7), slice(5, 10), whole))
    assert not chunks.fit((slice(1, 4), slice(5, 10), whole))
    assert not chunks.fit((slice(2, 5), slice(5, 10), whole))
    assert len(chunks.of((slice(2, 7), slice(5, 10), whole)).starts) == 3


def test_what_hdf5_alone_can_write_is_left_to_it(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for options in (
            {},
            {"chunks": CHUNK},  # has a place when it is written
            {"chunks": CHUNK, "compression": "lzf"},
            {"chunks": CHUNK, "compression": "gzip"},
        ):
            data = file.create_dataset(f"{len(file)}", SHAPE, "f4", **options)
            assert chunks_of(data, path) is None
