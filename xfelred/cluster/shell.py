"""Values in job scripts: they stay values, whatever is in them."""

from __future__ import annotations

import os
import re
import shlex

from xfelred.errors import ArgumentError, printable

VARIABLE = r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})"
# What means itself, or a variable, without quotes.
PLAIN_WITH_VARIABLES = re.compile(rf"(?:[A-Za-z0-9_@%+=:,./-]|{VARIABLE})+")
# What means something between double quotes.
MEANS_SOMETHING = re.compile(rf'({VARIABLE})|[\\"`$]')
INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]+")


def one_line(what: str, value: str | os.PathLike[str]) -> str:
    """Return a value that stays on its line of a script."""
    # After the end of a line a script could go on with anything.
    text = os.fspath(value)
    if text != printable(text) or "\n" in text or "\t" in text:
        raise ArgumentError(
            f"{what}={text!r} becomes part of a line of the job script: it must have no"
            " ends of lines and no control characters"
        )
    return text


def quoted(what: str, value: str | None) -> str | None:
    """Return a value as one word of a shell, or of a line with #SBATCH."""
    return value and shlex.quote(one_line(what, value))


def with_variables(what: str, value: str | os.PathLike[str] | None) -> str | None:
    """Return one word of a shell in which variables, such as $TMPDIR, count."""
    text = value and one_line(what, value)
    if not text or PLAIN_WITH_VARIABLES.fullmatch(text):
        return text or None
    return '"' + MEANS_SOMETHING.sub(lambda m: m[1] or f"\\{m[0]}", text) + '"'


def unquoted(what: str, value: str | os.PathLike[str] | None) -> str | None:
    """Return a path that means itself without quotes, or raise."""
    text = value and one_line(what, value)
    if text and shlex.quote(text) != text:
        raise ArgumentError(
            f"{what}={text!r} must be a path without blanks and other characters that"
            " mean something to a shell"
        )
    return text or None


def interface_name(value: str | None) -> str | None:
    """Return the name of a network, which dask looks up and writes as it is."""
    if value is not None and not INTERFACE.fullmatch(value):
        raise ArgumentError(
            f"interface={value!r} is no name of a network such as 'ib0'; `ip link`"
            " lists them"
        )
    return value


def directive(text: str) -> str:
    """Return an option of #SBATCH as it was given, if it is one."""
    line = one_line("directives", text)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ArgumentError(f"the directive {line!r} cannot be read: {error}") from None
    if not words:
        raise ArgumentError("a directive is empty; give options such as '--exclusive'")
    return line
