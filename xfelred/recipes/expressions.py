"""Formulas of per-shot values: a closed grammar, parsed here and never run as code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ConfigError, did_you_mean, listing

LONGEST = 1000  # characters
MOST_TOKENS = 250  # each may be a level of what is computed
DEEPEST = 50  # parentheses, signs and powers inside each other
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<name>`[^`]+`)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>\*\*|<=|>=|==|!=|[-+*/()<>,]))"
)
COMPARISONS: dict[str, Callable[..., Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
SUMS: dict[str, Callable[..., Any]] = {"+": np.add, "-": np.subtract}
PRODUCTS: dict[str, Callable[..., Any]] = {"*": np.multiply, "/": np.divide}


def least(*values: Any) -> Any:
    return reduce(np.minimum, values)


def greatest(*values: Any) -> Any:
    return reduce(np.maximum, values)


def chosen(condition: Any, yes: Any, no: Any) -> Any:
    # A value that is missing chooses neither.
    known = np.asarray(condition)
    out = np.where(known != 0, yes, no)
    return np.where(np.isnan(known), np.nan, out) if known.dtype.kind == "f" else out


# How many values each takes, from and to.
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (np.abs, 1, 1),
    "sqrt": (np.sqrt, 1, 1),
    "log": (np.log, 1, 1),
    "exp": (np.exp, 1, 1),
    "min": (least, 2, 20),
    "max": (greatest, 2, 20),
    "where": (chosen, 3, 3),
}
GRAMMAR = (
    "numbers, + - * / ** ( ), comparisons, the functions"
    f" {', '.join(FUNCTIONS)}, and names of values in backquotes"
)


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Call:
    """What a function, or a sign, makes of other parts."""

    function: Callable[..., Any]
    parts: tuple[Part, ...]


Part = Number | Name | Call


@dataclass(frozen=True)
class Formula:
    """A formula that was parsed.

    Examples
    --------
    >>> found = parse_formula("`a` / max(`b`, 1) > 2")
    >>> found.names
    ('a', 'b')
    >>> found({"a": np.array([6.0, 1.0]), "b": np.array([2.0, 0.5])})
    array([ True, False])
    """

    text: str
    part: Part

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values that it takes, each once."""
        return tuple(dict.fromkeys(names_in(self.part)))

    def __call__(self, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return what the formula makes of values of shots (shot, ...)."""
        with np.errstate(all="ignore"):  # 1 / 0 and log(-1) are what floats say
            return np.asarray(result(self.part, values))


def names_in(part: Part) -> list[str]:
    match part:
        case Name(name):
            return [name]
        case Call(_, parts):
            return [n for p in parts for n in names_in(p)]
    return []


def result(part: Part, values: Mapping[str, NDArray[Any]]) -> Any:
    match part:
        case Number(value):
            return value
        case Name(name):
            return values[name]
        case Call(function, parts):
            return function(*alike([result(p, values) for p in parts]))


def alike(values: list[Any]) -> list[Any]:
    """Return arrays of shots with as many axes as the one that has most."""
    most = max(map(np.ndim, values))
    return [
        np.reshape(v, (*np.shape(v), *(1,) * (most - np.ndim(v)))) if np.ndim(v) else v
        for v in values
    ]


def parse_formula(text: str) -> Formula:
    """Return a formula from its text; ConfigError says where it is wrong."""
    if len(text) > LONGEST:
        raise ConfigError(
            f"a formula of {len(text)} characters; one has at most {LONGEST}"
        )
    parser = Parser(text, tokens_of(text))
    part = parser.comparison(0)
    if parser.next is not None:
        raise parser.wrong("an operator")
    return Formula(text, part)


def tokens_of(text: str) -> list[tuple[str, str, int]]:
    """Return (kind, token, position) of a text."""
    out = []
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = TOKEN.match(text, at)
        if found is None:
            raise ConfigError(
                f"cannot read {text!r} from {text[at : at + 20]!r} on: a formula is of"
                f" {GRAMMAR}"
            )
        kind = str(found.lastgroup)
        out.append((kind, found[kind], found.start(kind)))
        at = found.end()
    if len(out) > MOST_TOKENS:
        raise ConfigError(
            f"the formula {text[:40]!r}... has more than {MOST_TOKENS} parts"
        )
    return out


class Parser:
    """Reads a formula from left to right; each method is a level of the grammar."""

    def __init__(self, text: str, tokens: list[tuple[str, str, int]]) -> None:
        self.text, self.tokens, self.at = text, tokens, 0

    @property
    def next(self) -> str | None:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else None

    def take(self) -> str:
        token = self.tokens[self.at][1]
        self.at += 1
        return token

    def wrong(self, wanted: str) -> ConfigError:
        found = "the end" if self.next is None else repr(self.next)
        place = self.tokens[self.at][2] + 1 if self.next is not None else len(self.text)
        return ConfigError(
            f"cannot read {self.text!r} at character {place}: wanted {wanted}, found"
            f" {found}; a formula is of {GRAMMAR}"
        )

    def comparison(self, depth: int) -> Part:
        left = self.chain(SUMS, self.product, depth)
        if self.next not in COMPARISONS:
            return left
        function = COMPARISONS[self.take()]
        right = self.chain(SUMS, self.product, depth)
        if self.next in COMPARISONS:  # Python would read a < b < c in a way of its own
            raise self.wrong("one comparison, or parentheses around each")
        return Call(function, (left, right))

    def chain(
        self,
        signs: Mapping[str, Callable[..., Any]],
        below: Callable[[int], Part],
        depth: int,
    ) -> Part:
        out = below(depth)
        while self.next in signs:
            out = Call(signs[self.take()], (out, below(depth)))
        return out

    def product(self, depth: int) -> Part:
        return self.chain(PRODUCTS, self.signed, depth)

    def signed(self, depth: int) -> Part:
        if depth > DEEPEST:
            raise ConfigError(f"the formula {self.text[:40]!r}... is nested too deeply")
        if self.next == "-":
            self.take()
            return Call(np.negative, (self.signed(depth + 1),))
        if self.next == "+":
            self.take()
            return self.signed(depth + 1)
        base = self.atom(depth + 1)
        if self.next != "**":
            return base
        self.take()
        return Call(np.power, (base, self.signed(depth + 1)))  # from the right

    def atom(self, depth: int) -> Part:
        if self.next is None:
            raise self.wrong("a value")
        kind = self.tokens[self.at][0]
        if kind == "number":
            return Number(float(self.take()))
        if kind == "name":
            return Name(self.take().strip("`"))
        if kind == "word":
            return self.call(depth)
        if self.next != "(":
            raise self.wrong("a value")
        self.take()
        part = self.comparison(depth + 1)
        self.close()
        return part

    def call(self, depth: int) -> Part:
        word = self.tokens[self.at][1]
        if word not in FUNCTIONS:
            raise ConfigError(
                f"{self.text!r}: no function {word!r}.{did_you_mean(word, FUNCTIONS)}"
                f" There are: {listing(FUNCTIONS)}. A name of the run stands in"
                f" backquotes: `{word}`"
            )
        self.take()
        if self.next != "(":
            raise self.wrong("(")
        self.take()
        parts = [self.comparison(depth + 1)]
        while self.next == ",":
            self.take()
            parts.append(self.comparison(depth + 1))
        self.close()
        function, least_number, most = FUNCTIONS[word]
        if not least_number <= len(parts) <= most:
            wanted = least_number if most == least_number else f"{least_number} or more"
            raise ConfigError(
                f"{self.text!r}: {word} takes {wanted} values, not {len(parts)}"
            )
        return Call(function, tuple(parts))

    def close(self) -> None:
        if self.next != ")":
            raise self.wrong(")")
        self.take()
