"""Labels of frames are read once a run."""

import pickle

import dask
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.hdf5.handles import OpenFiles


@pytest.fixture
def lookups(monkeypatch):
    """Names of files that are asked for anything."""
    found, handle = [], OpenFiles.handle

    def counting(self, path):
        found.append(path)
        return handle(self, path)

    monkeypatch.setattr(OpenFiles, "handle", counting)
    return found


@pytest.mark.parametrize("options", [{}, {"modules": [0, 3]}, {"missing": "drop"}])
def test_the_second_call_reads_nothing(ragged_run, options, lookups):
    run = xf.open_run(ragged_run.directory)
    first = run.frames(layout="frame", **options)
    assert lookups
    lookups.clear()
    xr.testing.assert_identical(run.frames(layout="frame", **options), first)
    assert not lookups


def test_trains_of_a_run_whose_labels_are_kept_need_no_others(agipd_run, lookups):
    run = xf.open_run(agipd_run.directory)
    alone = run.select_trains(np.s_[1:3]).frames()
    run.frames()
    some = run.select_trains(np.s_[1:3]).frames()
    xr.testing.assert_identical(some, alone)
    with pytest.raises(xf.SelectionEmptyError):
        run.select_trains([]).frames()


def test_kept_labels_change_neither_token_nor_pickle(agipd_run):
    run = xf.open_run(agipd_run.directory)
    run.frames()  # indexes and headers are looked up
    fresh = run.select_trains(np.s_[:])
    assert fresh.run_id
    before = dask.base.tokenize(fresh), len(pickle.dumps(fresh))
    fresh.frames()
    assert fresh.memo
    assert (dask.base.tokenize(fresh), len(pickle.dumps(fresh))) == before
    again = pickle.loads(pickle.dumps(fresh))
    assert not again.memo
    xr.testing.assert_identical(again.frames(), run.frames())
