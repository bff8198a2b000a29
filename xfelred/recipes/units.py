"""Numbers with units in recipes."""

from __future__ import annotations

import re

from xfelred.errors import ArgumentError

NUMBER_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*")
# How many of the default unit one of another is.
PICOSECONDS = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6, "ms": 1e9, "s": 1e12}
DELAY = "delay"


class KeyedValueError(ArgumentError):
    """A wrong value of a key below the part that is checked."""

    def __init__(self, text: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.path = path  # the keys that lead to it, whose names may have points
        self.key = ".".join(path)


def wrong_value(key: str | tuple[str, ...], text: str) -> KeyedValueError:
    return KeyedValueError(text, (key,) if isinstance(key, str) else key)


def number_of(value: object, unit: str | None) -> float:
    """Return a number in the default unit; None: no units are known here."""
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
    return "ps" if variable == DELAY else None
