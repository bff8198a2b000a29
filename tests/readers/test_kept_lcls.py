"""Runs of LCLS opened again, from what the user's cache holds of their files."""

import os
import shutil
import sys
from functools import partial

import h5py
import numpy as np
import pytest

import xfelred as xf
from tests.hdf5.test_remembered import age
from tests.readers.test_lcls_psana_errors import Fake
from xfelred import synth
from xfelred.readers.lcls_calibsuite import survey as suite
from xfelred.readers.lcls_psana import session
from xfelred.readers.lcls_psana import survey as xtc2
from xfelred.readers.lcls_smalldata import ids as smalldata

SMALL = {"n_events": 12, "shape": (2, 6, 8), "n_banks": 2}
# How a run is written, and what finds out what is in a file of it.
KINDS = {
    "small data": (partial(synth.lcls.write_smalldata, **SMALL), smalldata, "facts_of"),
    "small data of LCLS2": (
        partial(synth.lcls.write_smalldata, flavour="LCLS2", **SMALL),
        smalldata, "facts_of",
    ),
    "suite": (partial(synth.lcls.write_suite, n_events=(3, 2)), suite, "contents_of"),
    "suite, flat": (
        partial(synth.lcls.write_suite, layout="flat", n_events=(3, 3)),
        suite, "contents_of",
    ),
    "suite, of events": (
        partial(synth.lcls.write_suite, chunks=True, n_events=(3, 2)),
        suite, "contents_of",
    ),
}  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFELRED_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "files"


@pytest.fixture(params=KINDS)
def run(request, tmp_path, monkeypatch):
    """A file, and the calls that looked into it."""
    write, room, name = KINDS[request.param]
    path = tmp_path / "xpptest01_Run0047.h5"
    write(path)
    age(path)
    real, looks = getattr(room, name), []
    monkeypatch.setattr(room, name, lambda *args: looks.append(1) or real(*args))
    return path, looks


def facts(path):
    """What a user sees of a run."""
    run = xf.open_run(path)
    (name,) = run.detectors
    frames = run.frames(name, bad_pixels=None)
    return (
        {source: run.keys(source) for source in run.sources},
        frames.data.name,
        frames.sizes,
        frames.attrs,
        {k: str(v.values) for k, v in frames.coords.items()},
        frames.isel(train=[0, -1]).compute().values.tolist(),
        str(getattr(run, "metadata", "")),
        repr(run),
    )


def test_a_run_opened_again_is_the_same(run, cache):
    path, looks = run
    with xf.options(cache_directory=None):
        plain = facts(path)
    n = len(looks)
    assert facts(path) == plain
    assert len(looks) > n
    n = len(looks)
    assert facts(path) == plain
    assert len(looks) == n


def test_a_changed_file_is_read_again(run, cache):
    path, looks = run
    facts(path)
    n = len(looks)
    copy = shutil.copy(path, path.with_suffix(".other"))
    with h5py.File(copy, "r+") as f:
        f["new"] = np.arange(2)
    age(copy)
    os.replace(copy, path)
    changed = facts(path)
    assert len(looks) > n
    with xf.options(cache_directory=None):
        assert facts(path) == changed


def test_damage_to_what_is_kept_changes_nothing(run, cache):
    path, looks = run
    plain = facts(path)
    for spoil in (lambda b: b[:-9], lambda b: b[:40] + b"x" + b[41:], lambda b: b""):
        for file in cache.iterdir():
            file.write_bytes(spoil(file.read_bytes()))
        n = len(looks)
        assert facts(path) == plain
        assert len(looks) > n
    n = len(looks)
    assert facts(path) == plain  # it was kept anew
    assert len(looks) == n


def test_a_directory_that_cannot_be_written_is_no_error(run, tmp_path, monkeypatch):
    path, _ = run
    with xf.options(cache_directory=None):
        plain = facts(path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XFELRED_CACHE_DIR", str(tmp_path / "file"))
    assert facts(path) == plain


def test_a_damaged_file_says_so_again(run, cache):
    path, _ = run
    facts(path)
    copy = shutil.copy(path, path.with_suffix(".other"))
    os.truncate(copy, 3000)
    age(copy)
    os.replace(copy, path)
    for _ in range(2):
        with pytest.raises(xf.XfelredError, match=path.name):
            xf.open_run(path, facility="lcls")


def test_what_is_left_out_of_a_file_is_said_again(tmp_path, cache):
    path = tmp_path / "xpptest01_Run0047.h5"
    synth.lcls.write_smalldata(path, **SMALL)
    with h5py.File(path, "r+") as f:
        f["texts"] = ["a"] * SMALL["n_events"]
        space = h5py.h5s.create_simple((SMALL["n_events"],))
        h5py.h5d.create(f.id, b"odd", h5py.h5t.UNIX_D32LE, space)
    age(path)
    said = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="cannot be read and are left out") as seen:
            xf.open_run(path).columns  # noqa: B018
        said.append([str(w.message) for w in seen])
    assert said[0] == said[1]


@pytest.fixture
def psana(monkeypatch):
    found = Fake(ValueError())
    monkeypatch.setitem(sys.modules, "psana", found)
    monkeypatch.setitem(sys.modules, "psana.psexp.serial_ds", found)
    session.forget()
    yield found
    session.forget()


def test_files_of_xtc2_are_read_once_by_each_version(tmp_path, cache, psana):
    path = tmp_path / "run.xtc2"
    path.write_bytes(bytes(5000))
    age(path)
    with xf.options(cache_directory=None):
        plain = xf.open_run(str(path))
    first = xf.open_run(str(path))
    psana.fails = "steps"  # it is not asked
    again = xf.open_run(str(path))
    for one in (first, again):
        assert one.train_ids == plain.train_ids
        assert one.sources == plain.sources
        assert one.survey.steps[0].values == plain.survey.steps[0].values == {
            "motor": 1.5
        }  # fmt: skip
        assert one.survey.streams[0].methods == plain.survey.streams[0].methods
        assert one.survey.streams[0].segments == plain.survey.streams[0].segments
        assert one.run_id == plain.run_id
        assert one.frames("epix").shape == plain.frames("epix").shape
    psana.__version__ = "9"
    with pytest.raises(xf.BrokenFileError, match="cannot list its steps"):
        xf.open_run(str(path))
    psana.fails, psana.__version__ = "", ""
    path.write_bytes(bytes(6000))
    age(path)
    assert xtc2.survey(xf.open_run(str(path)).address).files[0][1] == 6000
