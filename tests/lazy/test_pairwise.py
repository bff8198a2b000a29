"""Pairs in parts: how they are cut changes no more than the last bits."""

import numpy as np
import pytest
import xarray as xr
from memory_files import frames_in_memory

from xfelred import ops, pairs
from xfelred.lazy import pairwise
from xfelred.lazy.estimate import estimate


def rings():
    """Return the pixels of one module as if they were rings of frames."""
    frames = frames_in_memory().isel(module=0, pulse=0)
    rows = frames.rename(slow_scan="radius", fast_scan="phi")
    return rows.assign_coords(phi=np.arange(6) * np.pi / 3)


def correlated(rows, **options):
    return ops.difference_correlation(rows, pairs.consecutive(rows.train), **options)


@pytest.mark.parametrize("errors", [None, "jackknife"])
def test_tasks_of_several_parts_give_the_same(monkeypatch, errors):
    whole = correlated(rings(), errors=errors).compute()
    # Two frames are held at a time, and all pairs are of one or two tasks.
    monkeypatch.setattr(pairwise, "HELD", 2 * 4 * 6 * 4)
    monkeypatch.setattr(pairwise, "MAX_TASKS", 2)
    lazy = correlated(rings(), errors=errors)
    assert estimate(lazy).blocks == 2
    xr.testing.assert_allclose(lazy.compute(), whole, rtol=1e-12)


def test_each_pair_has_a_block_of_the_parts_that_are_held(monkeypatch, no_compute):
    whole = correlated(rings(), reduce=None).compute()
    monkeypatch.setattr(pairwise, "HELD", 2 * 4 * 6 * 4)
    monkeypatch.setattr(pairwise, "MAX_TASKS", 1)
    with no_compute():
        lazy = correlated(rings(), reduce=None)
    assert lazy["correlation"].chunks[0] == (2, 2, 2)
    xr.testing.assert_identical(lazy.compute(), whole)
