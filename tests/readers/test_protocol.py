"""The runs of all facilities are what `xf.Run` promises."""

import importlib

import pytest

import xfelred as xf
from xfelred.readers.lcls_psana.run import Run as PsanaRun
from xfelred.readers.protocol import Detector, Key
from xfelred.synth.lcls import write_smalldata, write_suite
from xfelred.synth.sacla import write_run as write_sacla

WRITERS = {
    "sacla": lambda path: write_sacla(path, n_images=6, n_darks=2, shape=(6, 5)),
    "small data": lambda path: write_smalldata(path, n_events=4, shape=(2, 8, 12)),
    "calibration suite": lambda path: write_suite(path),
}


@pytest.fixture(params=["euxfel", *WRITERS])
def run(request, agipd_run, tmp_path):
    if request.param == "euxfel":
        return xf.open_run(agipd_run.directory)
    path = tmp_path / "run.h5"
    WRITERS[request.param](path)
    return xf.open_run(path)


def test_a_run_is_a_run(run):
    assert isinstance(run, xf.Run)
    assert isinstance(run.select_trains([0]), xf.Run)
    assert isinstance(next(run.split_trains(parts=2)), xf.Run)


def test_a_detector_is_a_detector(run):
    detector = run.detector(next(iter(run.detectors)))
    assert isinstance(detector, Detector)
    assert isinstance(detector.select_trains([0]), Detector)


def test_a_key_is_a_key(agipd_run):
    run = xf.open_run(agipd_run.directory)
    source = run.sources[0]
    assert isinstance(run[source, run.keys(source)[0]], Key)


def test_a_run_of_psana_has_what_others_have():
    assert not [n for n in vars(xf.Run) if n[0] != "_" and not hasattr(PsanaRun, n)]


@pytest.mark.parametrize("name", ["ops", "geometry", "products", "masks", "pairs"])
def test_a_room_shows_its_public_names_only(name):
    room = importlib.import_module(f"xfelred.{name}")
    assert dir(room) == sorted(room.__all__)
    assert dir(xf) == sorted(xf.__all__)
