"""Names of columns of per-shot values, such as ``ipm2/channels[3]``.

A name may end with the position of one of several values of a shot, counted from 0 as
in numpy: ``timing/eventcodes[272]`` is the column of event code 272.
"""

from __future__ import annotations

import re

from xfelred.errors import CONTROL

ELEMENT = r"\[\s*\d+(?:\s*,\s*\d+)*\s*\]"
NAME_AND_ELEMENT = re.compile(rf"(.+?)({ELEMENT})")


def split_element(name: str) -> tuple[str, tuple[int, ...]]:
    """Return the name of an array and the position in it; () without one.

    Examples
    --------
    >>> split_element("ipm2/channels[3]"), split_element("ipm2/sum")
    (('ipm2/channels', (3,)), ('ipm2/sum', ()))
    """
    found = NAME_AND_ELEMENT.fullmatch(name)
    if found is None:
        return name, ()
    return found[1], tuple(int(n) for n in found[2].strip("[]").split(","))


def in_result(name: str) -> str:
    """Return a name as results have it, which must not be a path: ``intg__archon``."""
    plain = CONTROL.sub("_", name).replace("/", "__")
    # To a disk these names are directories.
    return f"_{plain}" if plain in {".", ".."} else plain


def in_file_name(name: str) -> str:
    """Return a name as part of a file name, such as ``timing__eventcodes_272``."""
    base, element = split_element(name)
    return "_".join([in_result(base), *map(str, element)])
