"""Recipes as text: YAML or TOML to plain values, with the line of every key.

Only maps, lists, texts, numbers, booleans and null come through; tags, anchors,
aliases and repeated keys are refused, so that reading a recipe never makes anything
else. Recipes are small: limits on their size, depth, numbers and texts are checked
before anything is made of them, so that reading one ends soon, whatever it holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import yaml

from xfelred.errors import ArgumentTypeError, ConfigError

LARGEST = 1 << 20  # bytes of a file; recipes are written by hand
DEEPEST = 20  # maps in maps
MOST_VALUES = 20_000
LONGEST_NUMBER = 100  # characters; Python reads long ones in quadratic time
LARGEST_NUMBER = 2**64  # no file has larger integers
LONGEST_TEXT = 4096  # characters, those of a path
CORE = "tag:yaml.org,2002:"
NUMBERS = {f"{CORE}int", f"{CORE}float"}
SCALARS = {f"{CORE}{kind}" for kind in ("null", "bool", "str")} | NUMBERS
PLACE = re.compile(r"\(at line (\d+)")
# One part of a dotted key of TOML. Every piece of the pattern ends where another kind
# of character begins, so that matching takes a time in proportion to the text.
TOML_PART = re.compile(
    r"""[ \t]*(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*(\.?)"""
)
# Knows which plain texts are numbers and booleans; is given no text to read.
RULES = yaml.SafeLoader("")


@dataclass(frozen=True)
class Parsed:
    """Plain values, and the line of every key."""

    values: Mapping[str, Any]
    lines: dict[str, int]  # from 1, by dotted key such as bins.delay.stop
    name: str  # of the file, for messages

    def line(self, key: str) -> int | None:
        """Return the line of a key, or of the nearest one above it."""
        while key:
            if key in self.lines:
                return self.lines[key]
            key = key.rpartition(".")[0]
        return None

    def error(self, key: str, text: str) -> ConfigError:
        line = self.line(key)
        where = f"{self.name} line {line}" if line is not None else self.name
        what = f"{where}, {key}: {text}" if key else f"{where}: {text}"
        return ConfigError(what, path=self.name, line=line, key=key)


def parse(text: str, name: str) -> Parsed:
    """Return the values of a recipe: YAML, or TOML if `name` ends with ``.toml``."""
    if not isinstance(text, str):
        raise ArgumentTypeError(
            f"the text of a recipe must be a str, not {type(text).__name__}"
        )
    if len(text) > LARGEST:
        raise ConfigError(
            f"{name} has {len(text)} characters; a recipe has at most {LARGEST}",
            path=name,
        )
    parsed = (from_toml if name.endswith(".toml") else from_yaml)(text, name)
    return Parsed(plain_values(parsed), parsed.lines, name)


def plain_values(parsed: Parsed) -> dict[str, Any]:
    """Return a copy of values with texts as keys; tuples and arrays become lists."""
    out: dict[str, Any] = plain_value(parsed.values, parsed, "", 0, count(1))
    return out


def plain_value(
    values: object, parsed: Parsed, key: str, depth: int, counter: Iterator[int]
) -> Any:
    if next(counter) > MOST_VALUES:
        raise parsed.error("", f"has more than {MOST_VALUES} values")
    if depth > DEEPEST:
        raise parsed.error(key, "nested too deeply")
    if hasattr(values, "tolist"):  # numbers and arrays of numpy
        values = values.tolist()
    if isinstance(values, str) and len(values) > LONGEST_TEXT:
        raise parsed.error(key, f"has more than {LONGEST_TEXT} characters")
    if isinstance(values, int) and abs(values) > LARGEST_NUMBER:
        raise parsed.error(key, "an integer beyond 2**64, which nothing here can be")
    above = f"{key}." if key else ""
    if isinstance(values, Mapping):
        out = {}
        for k, value in values.items():
            name = str(plain_value(k, parsed, key, depth, counter))
            out[name] = plain_value(value, parsed, above + name, depth + 1, counter)
        return out
    if isinstance(values, (list, tuple)):
        return [
            plain_value(value, parsed, f"{above}{i}", depth + 1, counter)
            for i, value in enumerate(values)
        ]
    return values


def from_toml(text: str, name: str) -> Parsed:
    line: int | None = None
    try:
        check_toml_keys(text, name)
        values = tomllib.loads(text)
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply", path=name) from None
    except ValueError as error:  # also for integers that Python refuses to read
        found = PLACE.search(str(error))
        line = int(found[1]) if found else None
        raise ConfigError(f"{name} is no TOML: {error}", path=name, line=line) from None
    return Parsed(values, toml_lines(text), name)


def check_toml_keys(text: str, name: str) -> None:
    # Each part makes a map; the time of tomllib grows with the square of their number.
    for number, line in enumerate(text.split("\n"), start=1):
        at = len(line) - len(line.lstrip(" \t["))
        for n_parts in count(1):
            found = TOML_PART.match(line, at)
            if not found or not found[1]:
                break
            if n_parts > DEEPEST:
                raise ConfigError(
                    f"{name} line {number}: a key of more than {DEEPEST} parts is"
                    " nested too deeply",
                    path=name,
                    line=number,
                )
            at = found.end()


def toml_lines(text: str) -> dict[str, int]:
    """Return the lines of keys that stand first on their line."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = stripped.strip("[]").replace('"', "")
            lines.setdefault(table, number)
        elif "=" in stripped and not stripped.startswith("#"):
            key = stripped.split("=")[0].strip().strip('"')
            lines.setdefault(f"{table}.{key}" if table else key, number)
    return lines


def from_yaml(text: str, name: str) -> Parsed:
    reader = YamlReader(iter(yaml.parse(text, yaml.SafeLoader)), {}, name, count(1))
    try:
        values = reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        where = f" line {line}" if line else ""
        text = f"{name}{where} is no YAML: {error.problem or error.context}"
        raise ConfigError(text, path=name, line=line) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name} is no YAML: {error}", path=name) from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name} must be a map of keys, not a {type(values).__name__}", path=name
        )
    return Parsed(values, reader.lines, name)


@dataclass(frozen=True)
class YamlReader:
    """Makes values of the events of a YAML text, one by one."""

    # A loader of `yaml` makes nodes of all of it before one can look at any.
    events: Iterator[yaml.Event]
    lines: dict[str, int]  # by dotted key; filled while reading
    name: str  # of the file
    counter: Iterator[int]  # of values

    def error(self, event: yaml.Event, text: str, key: str = "") -> ConfigError:
        line = line_of(event)
        where = f"{self.name} line {line}" + (f", {key}" if key else "")
        return ConfigError(f"{where}: {text}", path=self.name, line=line, key=key)

    def document(self) -> Any:
        """Return the value of the only document; an empty map if there is none."""
        next(self.events)  # the start of the stream
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            return {}
        value = self.value(next(self.events), "", 0)
        next(self.events)  # the end of the document
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise self.error(event, "a second document begins; a recipe is one")
        return value

    def value(self, event: yaml.Event, key: str, depth: int) -> Any:
        self.refuse_link(event)
        if depth > DEEPEST:
            raise self.error(event, "nested too deeply")
        if next(self.counter) > MOST_VALUES:
            raise self.error(event, f"a recipe has at most {MOST_VALUES} values")
        if isinstance(event, yaml.MappingStartEvent):
            return dict(self.entries(key, depth))
        if isinstance(event, yaml.SequenceStartEvent):
            return list(self.items(key, depth))
        return self.scalar(cast(yaml.ScalarEvent, event))

    def refuse_link(self, event: yaml.Event) -> None:
        what = ""
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent):
            what = f"the alias *{anchor}"
        elif anchor:
            what = f"the anchor &{anchor}"
        elif tag:
            what = f"the tag {tag.replace(CORE, '!!')}"
        if what:
            raise self.error(
                event, f"{what} is not allowed in a recipe; write the value itself"
            )

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = RULES.resolve(  # type: ignore[no-untyped-call]
            yaml.ScalarNode, event.value, event.implicit
        )
        if tag not in SCALARS:
            # Dates and the like: to a user they are text.
            return event.value
        if tag in NUMBERS and len(event.value) > LONGEST_NUMBER:
            raise self.error(
                event, f"a number of more than {LONGEST_NUMBER} characters"
            )
        try:
            make = yaml.SafeLoader.yaml_constructors[tag]
            return make(RULES, yaml.ScalarNode(tag, event.value))
        except (ValueError, OverflowError):  # such as 0x_
            raise self.error(event, f"{event.value!r} is no number") from None

    def items(self, key: str, depth: int) -> Iterator[Any]:
        for i in count():
            event = next(self.events)
            if isinstance(event, yaml.SequenceEndEvent):
                return
            below = f"{key}.{i}"
            self.lines[below] = line_of(event)
            yield self.value(event, below, depth + 1)

    def entries(self, key: str, depth: int) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            self.refuse_link(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error(event, "a key must be a text")
            text = str(event.value)  # `on` and `off` are texts here
            below = f"{key}.{text}" if key else text
            if text in seen:
                first = seen[text]
                raise self.error(
                    event, f"is there twice, first on line {first}", key=below
                )
            seen[text] = self.lines[below] = line_of(event)
            yield text, self.value(next(self.events), below, depth + 1)


def line_of(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
