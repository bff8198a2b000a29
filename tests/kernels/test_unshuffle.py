"""Bytes come back as they were before HDF5's filters."""

import numpy as np
import pytest

from xfelred.kernels.unshuffle import fletcher32, packed_blocks, unshuffle


@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 12, 16])
@pytest.mark.parametrize("n_bytes", [0, 1, 7, 48, 96, 1000, 4099])
def test_unshuffle_joins_the_bytes_of_each_item(itemsize, n_bytes):
    rng = np.random.default_rng(n_bytes)
    items = rng.integers(0, 256, n_bytes).astype("u1")
    n = n_bytes // itemsize
    planes = [
        items[i * itemsize + byte] for byte in range(itemsize) for i in range(n)
    ] + list(items[n * itemsize :])
    out = np.zeros(n_bytes, "u1")
    unshuffle(np.array(planes, "u1"), out, itemsize)
    np.testing.assert_array_equal(out, items)


def slow_fletcher(data):
    """Sums of exact Python integers, reduced so that 65535 stays and 0 only for 0."""
    low = high = 0
    padded = data + b"\0" * (len(data) % 2)
    for i in range(0, len(padded), 2):
        low += padded[i] * 256 + padded[i + 1]
        high += low
    low, high = ((x - 1) % 65535 + 1 if x else 0 for x in (low, high))
    return high * 65536 + low


@pytest.mark.parametrize("n_bytes", [0, 1, 2, 3, 719, 720, 721, 722, 5000, 10001])
def test_checksum_is_a_pair_of_sums(n_bytes):
    rng = np.random.default_rng(n_bytes)
    for top in (1, 2, 256):
        data = rng.integers(0, top, n_bytes).astype("u1")
        assert int(fletcher32(data)) == slow_fletcher(data.tobytes())
    full = np.full(n_bytes, 255, "u1")
    assert int(fletcher32(full)) == slow_fletcher(full.tobytes())


def test_checksum_sees_swapped_words():
    assert fletcher32(np.frombuffer(b"abcd", "u1")) != fletcher32(
        np.frombuffer(b"cdab", "u1")
    )


def blocks(*sizes):
    return b"".join(n.to_bytes(4, "big") + b"x" * n for n in sizes)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (blocks(3, 5, 1), 21),
        (blocks(3, 5, 1) + b"tail", 21),
        (blocks(3, 5), -1),  # the third is not there
        (blocks(3, 5, 1)[:-1], -1),
        (blocks(3, 5, 1)[:14], -1),  # within a length
        (blocks(3) + b"\xff\xff\xff\xff" + b"x" * 20, -1),
    ],
)
def test_blocks_are_followed_to_their_end(data, end):
    assert packed_blocks(np.frombuffer(data, "u1"), 0, 24, 8, 0) == end
    assert packed_blocks(np.frombuffer(b"h" + data, "u1"), 1, 24, 8, 0) == (
        end + 1 if end >= 0 else -1
    )


def test_bytes_behind_the_last_block_must_be_there():
    data = np.frombuffer(blocks(2) + b"abc", "u1")
    assert packed_blocks(data, 0, 8, 8, 3) == 9
    assert packed_blocks(data, 0, 8, 8, 4) == -1
    assert packed_blocks(data, 6, 0, 8, 3) == 9
