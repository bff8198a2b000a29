"""`xfelred reduce`: what it prints, writes, and exits with."""

import json

import pytest

import xfelred as xf
from xfelred.cli.main import run
from xfelred.synth.lcls import write_smalldata

NAME = "xpptest01_Run0047"
RECIPE = """\
schema_version: 1
kind: smalldata
variables: ["ipm2/*"]
detectors:
  jungfrau1M:
    functions:
      - {function: roi, name: ROI_0, bounds: [[0, 3], [0, 4]]}
execution: {block_trains: 10}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / f"{NAME}.h5"
    write_smalldata(path, n_events=24, shape=(2, 6, 8), n_banks=2)
    return path


@pytest.fixture
def call(source, tmp_path, capsys):
    """Call ``xfelred reduce RUN RECIPE -o out``; return (exit code, stdout, stderr)."""
    recipe = tmp_path / "small.yaml"

    def invoke(*options, text=RECIPE):
        recipe.write_text(text)
        out = str(tmp_path / "out")
        code = run(["reduce", str(source), str(recipe), "-o", out, *options])
        return code, *capsys.readouterr()

    return invoke


def test_the_file_is_told_and_opens(call, tmp_path):
    code, out, err = call()
    assert code == 0, err
    assert out == f"{tmp_path / 'out' / NAME}.h5\n"
    assert len(xf.open_run(out.strip()).train_ids) == 24
    code, _, err = call()
    assert code == 1
    assert "--resume" in err
    assert "--overwrite" in err
    code, out, _ = call("--resume", "--json")
    assert (code, json.loads(out)["computed"], json.loads(out)["reused"]) == (0, 0, 3)


def test_only_the_first_shots(call, tmp_path):
    code, out, _ = call("--nevents", "7", "--json")
    assert code == 0
    assert json.loads(out)["blocks"] == 1
    assert len(xf.open_run(tmp_path / "out" / f"{NAME}.h5").train_ids) == 7


def test_a_dry_run_writes_nothing(call, tmp_path):
    code, out, _ = call("--dry-run", "--json")
    found = json.loads(out)
    assert code == 0
    assert not (tmp_path / "out").exists()
    assert found["blocks"] == 3
    assert found["paths"] == [f"{tmp_path / 'out' / NAME}.h5"]
    assert found["bytes_read"] > 0
    assert found["bytes_output"] > 24 * 8


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("function: roi", "function: rio", 2, "line 7"),
        ("jungfrau1M", "jungfrau2M", 2, "Did you mean 'jungfrau1M'"),
        ("kind: smalldata", "kind: cube", 2, "is no smalldata recipe"),
        ("[0, 3]", "[9, 13]", 2, "hold no pixel"),
    ],
)
def test_mistakes_have_exit_code_2(call, old, new, code, words):
    found, out, err = call(text=RECIPE.replace(old, new))
    assert (found, out) == (code, "")
    assert words in err


def test_a_recipe_is_checked_with_its_run(source, tmp_path, capsys):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    assert run(["config", "check", str(path), "--run", str(source)]) == 0
    out = capsys.readouterr().out
    assert "a good smalldata recipe" in out
    assert "of 24 shots have frames" in out
    assert run(["config", "schema", "smalldata"]) == 0
    assert json.loads(capsys.readouterr().out) == xf.SmallDataRecipe.json_schema()
