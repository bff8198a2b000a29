import os
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from xfelred import __version__
from xfelred.cli import main
from xfelred.errors import BrokenFileError, SelectionEmptyError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def failing(monkeypatch):
    """A function that makes `xfelred fail` raise this error."""

    def install(error):
        @click.command()
        def fail():
            raise error

        commands = {**main.command.commands, "fail": fail}
        monkeypatch.setattr(main.command, "commands", commands)

    return install


def test_version_is_on_stdout(capsys):
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"xfelred, version {__version__}\n"


def test_help_names_the_commands_and_the_exit_codes(capsys):
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("info", "demo", "Exit codes"):
        assert word in text


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["info"], ["info", "a", "--no-such"], ["demo", "--trains", "0"]],
)
def test_wrong_usage_exits_with_2_and_says_why(arguments, capsys):
    assert main.run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SelectionEmptyError("no train left"), 3),
        (BrokenFileError("a.h5 is truncated"), 1),
        (PermissionError("not yours"), 1),
        (click.ClickException("no luck"), 1),
        (KeyboardInterrupt(), 1),
    ],
)
def test_errors_of_users_and_data_have_an_exit_code_and_no_traceback(
    failing, error, code, capsys
):
    failing(error)
    assert main.run(["fail"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert (str(error) or "interrupted") in err
    assert "Traceback" not in err


def test_warning_is_one_line_on_stderr(monkeypatch, capsys):
    @click.command()
    def warn():
        warnings.warn("10 % is padding", UserWarning, stacklevel=1)

    monkeypatch.setattr(main.command, "commands", {"warn": warn})
    assert main.run(["warn"]) == 0
    assert capsys.readouterr().err == "warning: 10 % is padding\n"


def test_faults_of_the_program_keep_their_traceback(failing):
    failing(RuntimeError("a fault"))
    with pytest.raises(RuntimeError, match="a fault"):
        main.run(["fail"])


@pytest.mark.nightly  # "as a module" runs always
@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["no"], 2)])
def test_process_exits_with_the_code(arguments, code):
    call = "import sys; from xfelred.cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", call, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code


@pytest.mark.parametrize(
    "module",
    ["xfelred", pytest.param("xfelred.cli.main", marks=pytest.mark.nightly)],
)
def test_python_runs_the_command_as_a_module(module, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", module, "info", "no_such.h5"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no_such.h5" in done.stderr
