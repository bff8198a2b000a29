import json

import pytest

from xfelred.cli.main import run

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
