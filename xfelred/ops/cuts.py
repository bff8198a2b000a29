"""The closed grammar of cuts on per-shot values; nothing is ever evaluated as code."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from xfelred.column_names import ELEMENT
from xfelred.errors import ConfigError
from xfelred.kernels.arrays import Array, Bools

LONGEST = 1000  # characters of a cut: matching one takes a time with their square
LARGEST_NUMBER = 2**64  # no integer of a file is larger
# One pattern for each form of a cut; the first that matches is taken.
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf|nan)"
NAME = rf"`[^`]+`|[^\s`<>=!(){{}}\[\]'\",;]+(?:{ELEMENT})?"
COMPARISON = r"<=|>=|==|!=|<|>"
WHOLE = re.compile(r"[+-]?\d+")
BETWEEN = re.compile(
    rf"\s*({NUMBER})\s*(<=|<|>=|>)\s*({NAME})\s*(<=|<|>=|>)\s*({NUMBER})\s*"
)
COMPARE = re.compile(rf"\s*({NAME})\s*({COMPARISON})\s*({NUMBER})\s*")
REVERSED = re.compile(rf"\s*({NUMBER})\s*({COMPARISON})\s*({NAME})\s*")
FLAG = re.compile(rf"\s*(not\s+)?({NAME})\s*")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
GRAMMAR = (
    "'lo < name < hi', 'name OP number' with < <= > >= == !=, 'name' or 'not name';"
    " or [name, lo, hi]; name[3] is one of several values of a shot"
)


@dataclass(frozen=True)
class Cut:
    """A condition on one per-shot value."""

    name: str
    # (operator, number); all of them must hold; a value that is not finite never passes
    tests: tuple[tuple[str, float], ...]
    text: str  # for people

    def passes(self, values: Array) -> Bools:
        good: Bools = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            for name, limit in self.tests:
                good = good & OPERATORS[name](values, limit)
        return good

    @property
    def limits(self) -> tuple[float, float]:
        """Range of values that pass, ends disregarded; infinite where open."""
        low, high = -math.inf, math.inf
        for name, limit in self.tests:
            if name in (">", ">=", "=="):
                low = max(low, limit)
            if name in ("<", "<=", "=="):
                high = min(high, limit)
        return low, high


def parse_cuts(cuts: object) -> tuple[Cut, ...]:
    """Return cuts from texts and (name, low, high).

    cuts: str, str, or of (name, low, high).
    Raises ConfigError for anything that is not in the grammar.
    """
    if isinstance(cuts, (str, Cut)) or is_triple(cuts):
        cuts = [cuts]
    if not isinstance(cuts, Sequence):
        raise ConfigError(f"cuts must be a list of {GRAMMAR}; got {told(cuts)}")
    return tuple(parse_cut(cut) for cut in cuts)


def parse_cut(cut: object) -> Cut:
    if isinstance(cut, Cut):
        return cut
    if isinstance(cut, str):
        return from_text(cut)
    if is_triple(cut):
        return from_limits(*cut)
    raise ConfigError(f"cannot read the cut {told(cut)}; it must be {GRAMMAR}")


def told(cut: object) -> str:
    """Return what is no cut, for a message."""
    try:
        return repr(cut)
    except ValueError:  # Python refuses to print long integers
        return f"a {type(cut).__name__} with an integer beyond 4300 digits"


def is_triple(cut: object) -> TypeGuard[tuple[str, float | None, float | None]]:
    """Return whether something is (name, low, high)."""
    return (
        isinstance(cut, Sequence)
        and not isinstance(cut, str)
        and len(cut) == 3
        and isinstance(cut[0], str)
        and all(is_limit(v) for v in cut[1:])
    )


def is_limit(value: object) -> bool:
    """Return whether a value is a number or None, which stands for no limit."""
    return value is None or (
        isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    )


def from_limits(name: str, low: float | None, high: float | None) -> Cut:
    """Return the cut ``low < name < high``; equal limits exclude their value."""
    check_length(name)
    lo = -math.inf if low is None else number(low)
    hi = math.inf if high is None else number(high)
    if math.isnan(lo) or math.isnan(hi) or lo > hi:
        raise ConfigError(
            f"the cut [{name!r}, {low}, {high}] lets nothing pass: its lower limit is"
            " not below the upper one"
        )
    if lo == hi:
        return Cut(name, (("!=", lo),), f"{name} != {lo:g}")
    return Cut(name, ((">", lo), ("<", hi)), f"{lo:g} < {name} < {hi:g}")


def from_text(text: str) -> Cut:
    check_length(text)
    shown = " ".join(text.split())
    cut = read_text(text, shown)
    if any(math.isnan(number) for _, number in cut.tests):
        raise ConfigError(
            f"{shown!r} compares with nan, which nothing equals; values that are not"
            " finite pass no cut anyway"
        )
    return cut


def read_text(text: str, shown: str) -> Cut:
    """Return the cut that a text states, whatever its numbers."""
    if found := BETWEEN.fullmatch(text):
        left, first, name, second, right = found.groups()
        if first[0] != second[0]:
            raise ConfigError(f"{shown!r} compares in two directions")
        low, high = number(left), number(right)
        tests = ((MIRROR[first], low), (second, high))
        empty = low > high if first[0] == "<" else low < high
        if empty:
            raise ConfigError(f"{shown!r} lets nothing pass: {left} and {right}")
        return Cut(unquoted(name), tests, shown)
    if found := COMPARE.fullmatch(text):
        name, sign, value = found.groups()
        return Cut(unquoted(name), ((sign, number(value)),), shown)
    if found := REVERSED.fullmatch(text):
        value, sign, name = found.groups()
        return Cut(unquoted(name), ((MIRROR[sign], number(value)),), shown)
    if found := FLAG.fullmatch(text):
        negated, name = found.groups()
        return Cut(unquoted(name), (("==" if negated else "!=", 0.0),), shown)
    raise ConfigError(f"cannot read the cut {text!r}; it must be {GRAMMAR}")


def check_length(text: str) -> None:
    if len(text) > LONGEST:
        raise ConfigError(
            f"the cut that begins with {text[:40]!r} has {len(text)} characters; a cut"
            f" has at most {LONGEST}"
        )


def number(given: float | str) -> float | int:
    try:
        value = float(given)
    except OverflowError:
        raise too_large() from None
    if math.isinf(value) and isinstance(given, str) and "inf" not in given:
        raise too_large()
    # From here on a float leaves out whole numbers, such as IDs.
    if 2**53 <= abs(value) < LARGEST_NUMBER and WHOLE.fullmatch(str(given)):
        return int(given)
    return value


def too_large() -> ConfigError:
    return ConfigError(
        "a limit of a cut is beyond 1.8e308, where numbers end; write inf, or leave the"
        " limit out"
    )


def unquoted(name: str) -> str:
    return name.strip("`")
