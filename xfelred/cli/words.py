"""What the command says: names in it come from files."""

from __future__ import annotations

import json

import click

from xfelred.errors import ArgumentError, ArgumentTypeError, XfelredError, printable


def tell(
    text: object = "", *, err: bool = False, nl: bool = True, again: bool = False
) -> None:
    """Print text in which control characters are shown; `again`: over the last line."""
    click.echo("\r" * again + printable(text), err=err, nl=nl)


def tell_json(content: object, indent: int | None = 2) -> None:
    """Print JSON for programs; a terminal may stand in their place."""
    # The only control character that JSON leaves as it is.
    click.echo(json.dumps(content, indent=indent).replace("\x7f", "\\u007f"))


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning about the data, without the line of code that found it."""
    tell(f"warning: {message}", err=True)


def of_argument(error: Exception) -> bool:
    """Tell whether an error is about an argument, which was an option of the command.

    Errors about data are `XfelredError` too.
    """
    of_data = isinstance(error, XfelredError)
    return isinstance(error, (ArgumentError, ArgumentTypeError)) or not of_data
