"""What the parts of `xfelred demo` share: directories of their own, and the session."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from xfelred.cli.words import tell
from xfelred.errors import OutputExistsError

MARKER = "simulated_by_xfelred_demo.txt"  # without it nothing is ever deleted


def new_directory(directory: Path) -> None:
    """Make an empty directory; replace one that an earlier demo made, but no other."""
    remove_own(directory)
    directory.mkdir()
    (directory / MARKER).write_text("Simulated; `xfelred demo` may replace this.\n")


def remove_own(directory: Path) -> None:
    """Delete the run of an earlier demo; raise if the directory is something else."""
    if not directory.exists():
        return
    if not (directory / MARKER).is_file():
        raise OutputExistsError(
            f"{directory} exists and was not made by xfelred demo;"
            " choose another directory: xfelred demo DIRECTORY"
        )
    shutil.rmtree(directory)


def say(code: str, *results: object) -> None:
    """Print a line of code as in a Python session, and what it gives."""
    tell()
    click.secho(f">>> {code}", bold=True)
    for result in results:
        tell(str(result))
