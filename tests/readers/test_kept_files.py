"""Runs opened again, from what the user's cache holds of their files."""

import os

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred import synth
from xfelred.hdf5 import rows as hdf5
from xfelred.hdf5.handles import OpenFiles
from xfelred.hdf5.shot_survey import Look
from xfelred.readers.euxfel import files as euxfel_files


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFELRED_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "files"


@pytest.fixture
def counted(monkeypatch):
    """How many files were asked what is in them."""
    asked = []
    real = euxfel_files.facts_of
    monkeypatch.setattr(
        euxfel_files, "facts_of", lambda path: asked.append(path) or real(path)
    )
    return asked


def age(*paths):
    for path in paths:
        old = os.stat(path).st_mtime_ns - 10**12
        os.utime(path, ns=(old, old))


@pytest.fixture
def run_dir(tmp_path):
    place = tmp_path / "r0001"
    synth.euxfel.write_run(place, n_trains=6, pulses=2, sequences=3)
    age(*place.glob("*.h5"))
    return place


def facts(run):
    return (
        run.train_ids,
        run.sources,
        [(f.path, f.version, f.identity, f.groups, f.legacy) for f in run.all_files],
        [(f.train_ids.tolist(), f.valid.tolist(), f.rows) for f in run.all_files],
        [(f.train_ids.dtype, f.valid.dtype, f.token()) for f in run.all_files],
    )


def test_a_run_opened_again_is_the_same(run_dir, cache, counted):
    first = xf.open_run(run_dir)
    n = len(counted)
    again = xf.open_run(run_dir)
    assert n == len(first.all_files) == len(list(cache.iterdir()))
    assert len(counted) == n
    assert facts(first) == facts(again)
    assert first.frames().data.name == again.frames().data.name


def test_a_changed_file_is_read_again(run_dir, cache, counted):
    xf.open_run(run_dir)
    n = len(counted)
    changed = sorted(run_dir.glob("*.h5"))[0]
    with h5py.File(changed, "r+") as f:
        f["INDEX/trainId"][-1] = 0
    age(changed)
    with_cache = xf.open_run(run_dir)
    assert counted[n:] == [str(changed)]
    with xf.options(cache_directory=None):
        assert facts(xf.open_run(run_dir)) == facts(with_cache)


def test_padding_and_gaps_of_an_index_come_back(run_dir, cache):
    for path, at in zip(sorted(run_dir.glob("*.h5")), (0, 1, -1), strict=False):
        with h5py.File(path, "r+") as f:
            f["INDEX/trainId"][at] = 0
        age(path)
    first, again = xf.open_run(run_dir), xf.open_run(run_dir)
    for one, other in zip(first.all_files, again.all_files, strict=True):
        np.testing.assert_array_equal(one.train_ids, other.train_ids)
        assert isinstance(one.rows, slice) == isinstance(other.rows, slice)
        np.testing.assert_array_equal(one.rows, other.rows)
    assert any(not isinstance(f.rows, slice) for f in again.all_files)


def test_a_damaged_file_is_left_out_again(run_dir, cache):
    broken = sorted(run_dir.glob("*.h5"))[0]
    xf.open_run(run_dir)
    os.truncate(broken, 3000)
    age(broken)
    for _ in range(2):
        with pytest.warns(UserWarning, match="left out"):
            run = xf.open_run(run_dir)
        assert [f.file for f in run.left_out] == [str(broken)]


def test_images_of_sacla_are_looked_at_once(tmp_path, cache, monkeypatch):
    path = tmp_path / "run.h5"
    synth.sacla.write_run(path, n_images=5, n_darks=1, shape=(6, 4))
    with h5py.File(path, "r+") as f:
        group = f[next(n for n in f if n.startswith("run_"))]
        name = next(n for n in group if n.startswith("detector_2d"))
        tags = sorted(t for t in group[name] if t.startswith("tag_"))
        del group[name][tags[2]]["detector_data"]
    age(path)
    looks = []
    real = Look.all
    monkeypatch.setattr(
        Look, "all", lambda self, *args: looks.append(1) or real(self, *args)
    )
    found = []
    for _ in range(3):
        monkeypatch.setattr(hdf5, "OPEN_FILES", OpenFiles(3))
        with pytest.warns(UserWarning, match="no detector_data"):
            found.append(xf.open_run(path).frames().compute())
    assert len(looks) == 1
    with (
        xf.options(cache_directory=None),
        pytest.warns(UserWarning, match="no detector_data"),
    ):
        plain = xf.open_run(path).frames().compute()
    for one in found:
        np.testing.assert_array_equal(one, plain)
        np.testing.assert_array_equal(one.available, plain.available)
