import itertools

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xfelred.products.blocks import batches, block_list, is_regular, store, store_chunks


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    counts=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    limit=st.integers(8, 4000),
)
def test_storage_chunks_never_straddle_blocks(sizes, counts, limit):
    blocks = [(s,) * n for s, n in zip(sizes, counts, strict=False)]
    shape = [sum(b) for b in blocks]
    chunk = store_chunks(shape, blocks, 8, limit)
    for size, part in zip(sizes, chunk, strict=True):
        assert 1 <= part <= size
        assert size % part == 0


@given(
    shape=st.lists(st.integers(0, 300), min_size=1, max_size=4),
    limit=st.integers(8, 4000),
)
def test_storage_chunks_of_plain_arrays_respect_the_limit(shape, limit):
    chunk = store_chunks(shape, None, 8, limit)
    assert 8 * np.prod(chunk) <= limit
    assert all(1 <= c <= max(1, n) for c, n in zip(chunk, shape, strict=True))


def test_images_stay_whole_as_long_as_possible():
    blocks = [(4, 4), (64,), (16,), (512,), (128,)]
    shape = [8, 64, 16, 512, 128]
    assert store_chunks(shape, blocks, 4, 2**24) == (1, 4, 16, 512, 128)
    assert store_chunks(shape, blocks, 4, 2**20) == (1, 1, 4, 512, 128)


def test_block_of_prime_length_is_not_cut_into_crumbs():
    assert store_chunks([10_007], [(10_007,)], 8, 1000) == (10_007,)


@pytest.mark.parametrize(
    ("sizes", "regular"),
    [((3, 3, 2), True), ((3,), True), ((), True), ((2, 3), False), ((3, 2, 3), False)],
)
def test_regular_blocks_are_recognised(sizes, regular):
    assert is_regular(sizes) is regular


def test_block_list_covers_every_element_once():
    arrays = {
        "a": dask.array.zeros((5, 4), chunks=(2, 3)),
        "b": dask.array.zeros((5, 4), chunks=(2, 3)),
        "c": dask.array.zeros((), dtype="int32"),
    }
    counts = {name: np.zeros(a.shape, int) for name, a in arrays.items()}
    listed = block_list(arrays)
    for name, region, n_bytes in listed:
        counts[name][region] += 1
        assert n_bytes == arrays[name][region].nbytes
    assert all((c == 1).all() for c in counts.values())
    assert [name for name, *_ in listed[:4]] == ["a", "b", "a", "b"]


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 100))
def test_batches_keep_the_order_and_the_limit(sizes, limit):
    blocks = [(str(n), (slice(n, n + 1),), size) for n, size in enumerate(sizes)]
    made = list(batches(blocks, limit))
    assert list(itertools.chain(*made)) == [(name, r) for name, r, _ in blocks]
    for batch in made:
        total = sum(sizes[int(name)] for name, _ in batch)
        assert len(batch) == 1 or total <= limit


def test_batches_keep_what_stands_in_one_place_together():
    here, there = (slice(0, 2),), (slice(2, 4),)
    blocks = [(name, r, 10) for r in (here, there) for name in ("mean", "std")]
    made = list(batches(blocks, 5))
    assert made == [[("mean", r), ("std", r)] for r in (here, there)]


def test_store_of_nothing_is_fine():
    store({}, {})
