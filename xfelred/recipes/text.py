"""Recipes as text: YAML or TOML to plain values, with the line of every key.

Only maps, lists, texts, numbers, booleans and null come through; tags, anchors,
aliases and repeated keys are refused, so that reading a recipe never makes anything
else.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from xfelred.errors import ConfigError

LARGEST = 1 << 20  # characters; recipes are written by hand
DEEPEST = 20
CORE = "tag:yaml.org,2002:"
SCALARS = {f"{CORE}{kind}" for kind in ("null", "bool", "int", "float", "str")}
PLACE = re.compile(r"\(at line (\d+)")


@dataclass(frozen=True)
class Parsed:
    """Plain values, and the line of every key.

    Attributes
    ----------
    values : dict
    lines : dict of str to int
        Line, counted from 1, by dotted key such as ``bins.delay.stop``.
    name : str
        Of the file, for messages.
    """

    values: dict[str, Any]
    lines: dict[str, int]
    name: str

    def line(self, key: str) -> int | None:
        """Return the line of a key, or of the nearest one above it."""
        while key:
            if key in self.lines:
                return self.lines[key]
            key = key.rpartition(".")[0]
        return None

    def error(self, key: str, text: str) -> ConfigError:
        """Return the error for a key, with file and line."""
        line = self.line(key)
        where = f"{self.name} line {line}" if line is not None else self.name
        what = f"{where}, {key}: {text}" if key else f"{where}: {text}"
        return ConfigError(what, path=self.name, line=line, key=key)


def parse(text: str, name: str) -> Parsed:
    """Return the values of a recipe.

    Parameters
    ----------
    text : str
        YAML, or TOML if `name` ends with ``.toml``.
    name : str

    Raises
    ------
    ConfigError
        If it is neither, or holds more than plain values.
    """
    if len(text) > LARGEST:
        raise ConfigError(
            f"{name} has {len(text)} characters; a recipe has at most {LARGEST}",
            path=name,
        )
    return from_toml(text, name) if name.endswith(".toml") else from_yaml(text, name)


def from_toml(text: str, name: str) -> Parsed:
    """Return the values of a TOML recipe."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = PLACE.search(str(error))
        line = int(found[1]) if found else None
        raise ConfigError(f"{name} is no TOML: {error}", path=name, line=line) from None
    return Parsed(values, toml_lines(text), name)


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
    """Return the values of a YAML recipe."""
    try:
        refuse_links(text, name)
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        where = f" line {line}" if line else ""
        raise ConfigError(
            f"{name}{where} is no YAML: {error.problem or error.context}",
            path=name, line=line,
        ) from None  # fmt: skip
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{name} is no YAML: {error}", path=name) from None
    lines: dict[str, int] = {}
    values = plain(root, "", lines, name) if root is not None else {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name} must be a map of keys, not a {type(values).__name__}", path=name
        )
    return Parsed(values, lines, name)


def refuse_links(text: str, name: str) -> None:
    """Raise ConfigError for an anchor, an alias or a tag."""
    events: Iterator[Any] = yaml.parse(text, yaml.SafeLoader)
    for event in events:
        line = event.start_mark.line + 1
        what = ""
        if isinstance(event, yaml.AliasEvent):
            what = f"the alias *{event.anchor}"
        elif getattr(event, "anchor", None):
            what = f"the anchor &{event.anchor}"
        elif getattr(event, "tag", None):
            what = f"the tag {event.tag.replace(CORE, '!!')}"
        if what:
            raise ConfigError(
                f"{name} line {line}: {what} is not allowed in a recipe; write the"
                " value itself",
                path=name, line=line,
            )  # fmt: skip


def plain(node: Any, key: str, lines: dict[str, int], name: str) -> Any:
    """Return the value of a node; notes the lines of keys."""
    line = node.start_mark.line + 1
    if key.count(".") > DEEPEST:
        raise ConfigError(
            f"{name} line {line}: nested too deeply", path=name, line=line
        )
    if isinstance(node, yaml.MappingNode):
        return dict(entries(node, key, lines, name))
    if isinstance(node, yaml.SequenceNode):
        out = []
        for i, item in enumerate(node.value):
            below = f"{key}.{i}"
            lines[below] = item.start_mark.line + 1
            out.append(plain(item, below, lines, name))
        return out
    if node.tag not in SCALARS:
        # Dates and the like: to a user they are text.
        return node.value
    return yaml.SafeLoader.construct_object(yaml.SafeLoader(""), node)


def entries(
    node: Any, key: str, lines: dict[str, int], name: str
) -> Iterator[tuple[str, Any]]:
    """Yield keys and values of a map."""
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(
                f"{name} line {line}: a key must be a text", path=name, line=line
            )
        text = str(key_node.value)  # `on` and `off` are texts here
        below = f"{key}.{text}" if key else text
        if text in seen:
            raise ConfigError(
                f"{name} line {line}, {below}: is there twice, first on line"
                f" {seen[text]}",
                path=name, line=line, key=below,
            )  # fmt: skip
        seen[text] = lines[below] = line
        yield text, plain(value_node, below, lines, name)
