import json

import pytest

from xfelred.cli.main import run
from xfelred.synth.sacla import write_run

DETECTOR = "SPB_DET_AGIPD1M-1"


@pytest.fixture
def directory(agipd_run):
    return str(agipd_run.directory)


def test_info_names_trains_and_detector(directory, capsys):
    assert run(["info", directory]) == 0
    out, err = capsys.readouterr()
    assert DETECTOR in out
    assert "10000" in out
    assert err == ""


def test_json_is_one_object_for_programs(directory, agipd_run, capsys):
    assert run(["info", directory, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["facility"] == "euxfel"
    assert content["train_ids"] == [int(t) for t in agipd_run.train_ids]
    assert content["n_trains"] == 5
    assert content["first_train"], content["last_train"] == (10000, 10004)
    assert list(content["detectors"]) == [DETECTOR]
    assert f"{DETECTOR}/CORR/3CH0:output" in content["sources"]


def test_source_shows_its_keys(directory, capsys):
    source = f"{DETECTOR}/CORR/3CH0:output"
    assert run(["info", directory, "--source", source]) == 0
    name, *lines = capsys.readouterr().out.splitlines()
    assert name == source
    assert ["image.data", "float32", "(15,", "512,", "128)"] in [
        line.split() for line in lines
    ]
    assert run(["info", directory, "--source", source, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["source"] == source
    assert content["keys"]["image.mask"] == {
        "dtype": "uint32",
        "shape": [15, 512, 128],
        "units": None,
    }
    assert run(["info", directory, "--source", "SA1_XTD2_XGM/DOOCS/MAIN:output"]) == 0
    assert "data.intensityTD  float32 (5, 1000) μJ" in capsys.readouterr().out


def test_unknown_source_suggests_a_known_one(directory, capsys):
    assert run(["info", directory, "--source", f"{DETECTOR}/CORR/3CH0:outpt"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Did you mean '{DETECTOR}/CORR/3CH0:output'?" in err


def test_what_is_not_a_run_is_an_error_without_traceback(tmp_path, capsys):
    assert run(["info", str(tmp_path / "nothing")]) == 1
    assert "nothing" in capsys.readouterr().err
    assert run(["info", str(tmp_path)]) == 1
    (tmp_path / "a.h5").write_text("not HDF5")
    assert run(["info", str(tmp_path / "a.h5")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_one_run_of_a_file_with_several(tmp_path, capsys):
    options = {"n_images": 3, "n_darks": 1, "shape": (4, 4)}
    path = tmp_path / "runs.h5"
    write_run(path, run=300001, **options)
    write_run(path, run=300002, first_tag=900, append=True, **options)
    assert run(["info", str(path)]) == 1
    assert "run=300001" in capsys.readouterr().err
    for name in ("300002", "run_300002"):
        assert run(["info", str(path), "--run", name, "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["run_id"] == "run_300002"
        assert content["train_ids"] == [900, 902, 904]
    assert run(["info", str(path), "--run", "300002"]) == 0
    assert "1 dark, 2 lit" in capsys.readouterr().out
    arguments = ["--run", "300002", "--source", "event_info"]
    assert run(["info", str(path), *arguments]) == 0
    assert "accelerator_status" in capsys.readouterr().out
    for name, message in (("7", "no run 7"), ("x", "a run is named 300001")):
        assert run(["info", str(path), "--run", name]) == 2
        assert message in capsys.readouterr().err


def test_run_of_a_proposal(tmp_path, agipd_run, monkeypatch, capsys):
    raw = tmp_path / "SPB" / "202601" / "p002012" / "raw"
    raw.mkdir(parents=True)
    (raw / "r0034").symlink_to(agipd_run.directory)
    monkeypatch.setenv("EXTRA_DATA_DATA_ROOT", str(tmp_path))
    assert run(["info", "2012", "--run", "34"]) == 0
    assert DETECTOR in capsys.readouterr().out
