"""Numbers with units in recipes."""

from __future__ import annotations

import re

from xfelred.errors import ArgumentError

NUMBER_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*")
# How many of the default unit one of another is.
PICOSECONDS = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6, "ms": 1e9, "s": 1e12}
DELAY = "delay"


class KeyedValueError(ArgumentError):
    """A wrong value of a key below the part that is checked.

    Parameters
    ----------
    text : str
    path : tuple of str
        The keys that lead to it; names may have points in them.
    """

    def __init__(self, text: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.path = path
        self.key = ".".join(path)


def wrong_value(key: str | tuple[str, ...], text: str) -> KeyedValueError:
    """Return the error for a wrong value of a key, or of keys in keys."""
    return KeyedValueError(text, (key,) if isinstance(key, str) else key)


def number_of(value: object, unit: str | None) -> float:
    """Return a number in the default unit.

    Parameters
    ----------
    value : float or str
        "-5 ps", "50 fs", or a plain number, which is in the default unit.
    unit : {"ps", None}
        Default unit; None: units are not known, and only numbers will do.

    Raises
    ------
    ValueError
        If it is no number, or the unit is unknown.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ArgumentError(f"{value!r} is no number")
    if not isinstance(value, str):
        return float(value)
    found = NUMBER_UNIT.fullmatch(value)
    if not found:
        raise ArgumentError(f"{value!r} is no number")
    number, given = float(found[1]), found[2]
    if not given or given == unit:
        return number
    if unit is None:
        raise ArgumentError(f"{value!r} has a unit, but this quantity has none here")
    if given not in PICOSECONDS:
        raise ArgumentError(f"{value!r} is no time; units are {', '.join(PICOSECONDS)}")
    return number * PICOSECONDS[given]


def default_unit(variable: str) -> str | None:
    """Return the default unit of a binned variable: ps for the delay."""
    return "ps" if variable == DELAY else None
