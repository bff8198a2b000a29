"""What the command prints: nothing in a file acts upon the terminal."""

import json

import h5py
import pytest

from xfelred import synth
from xfelred.cli.main import run
from xfelred.cli.words import of_argument, tell, tell_json
from xfelred.errors import ArgumentError, ConfigError, SourceNameError

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eepix\x7f\r"
BAD = "\x1b\x07\x9b\u202e\x7f\r"


@pytest.fixture
def hostile_run(tmp_path):
    path = tmp_path / "run.h5"
    synth.lcls.write_suite(path, n_events=(2,))
    with h5py.File(path, "r+") as file:
        file["detectorData/step0"].move("epixM", EVIL)
    return str(path)


@pytest.mark.parametrize("more", [(), ("--json",), ("--source", EVIL), ("--run", EVIL)])
def test_info_shows_hostile_names(hostile_run, capsys, more):
    run(["info", hostile_run, *more])
    said = "".join(capsys.readouterr())
    assert said
    assert not any(c in said for c in BAD)


def test_json_keeps_the_name_for_programs(hostile_run, capsys):
    assert run(["info", hostile_run, "--json"]) == 0
    assert EVIL in json.loads(capsys.readouterr().out)["detectors"]


@pytest.mark.parametrize(
    "arguments", [[EVIL], ["info"], ["info", EVIL], ["info", "--x" + EVIL, "a"],
                  ["config", "schema", EVIL], ["cube", EVIL, EVIL, "-o", EVIL]]
)  # fmt: skip
def test_wrong_usage_shows_hostile_text(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) in (1, 2)
    said = "".join(capsys.readouterr())
    assert said
    assert not any(c in said for c in BAD)


def test_a_recipe_error_shows_hostile_text(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    path.write_text('schema_version: 1\nkind: cube\n"a\\eb\\x9b": 3\n')
    assert run(["config", "check", str(path)]) == 2
    said = "".join(capsys.readouterr())
    assert "line 3" in said
    assert not any(c in said for c in BAD)


def test_words_and_json_are_safe_to_print(capsys):
    tell(EVIL)
    tell_json({"a": EVIL})
    said = capsys.readouterr().out
    assert not any(c in said for c in BAD)
    assert json.loads(said.split("\n", 1)[1]) == {"a": EVIL}


@pytest.mark.parametrize(
    ("error", "usage"),
    [(ArgumentError("a"), True), (ValueError("a"), True), (ConfigError("a"), False),
     (SourceNameError("a"), False)],
)  # fmt: skip
def test_errors_about_arguments_are_told_from_those_about_data(error, usage):
    assert of_argument(error) is usage
