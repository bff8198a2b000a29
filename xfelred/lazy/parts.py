"""Recipes taken apart for travel: plans and constants go beside the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from xfelred.lazy.nodes import Const, Map, Node, Source, View
from xfelred.lazy.source import ReadPlan


@dataclass(frozen=True)
class Slot:
    """The place of a source or a constant that travels beside the recipe."""

    number: int
    dims: tuple[str, ...]


def detach(node: Any, parts: list[Any], kinds: tuple[type, ...] = (Const,)) -> Any:
    """Return the recipe with leaves of some kinds taken out and appended to `parts`."""
    match node:
        case View():
            return replace(node, arg=detach(node.arg, parts, kinds))
        case Map():
            args = tuple(detach(a, parts, kinds) for a in node.args)
            return replace(node, args=args)
        case Source() | Const() if isinstance(node, kinds):
            parts.append(node)
            return Slot(len(parts) - 1, node.dims)
        case _:
            return node


def attach(node: Any, parts: Sequence[NDArray[Any] | ReadPlan]) -> Any:
    """Return the recipe with arrays and plans put back."""
    match node:
        case Slot():
            part = parts[node.number]
            if isinstance(part, ReadPlan):
                return Source(part, node.dims)
            return Const(part, node.dims, "")
        case View():
            return replace(node, arg=attach(node.arg, parts))
        case Map():
            return replace(node, args=tuple(attach(a, parts) for a in node.args))
        case _:
            return node


def compacted(node: Node) -> Node:
    """Return the recipe with plans that name only the files they read."""
    match node:
        case Source():
            return replace(node, plan=node.plan.compact())
        case Const():
            return node
        case View():
            return replace(node, arg=compacted(node.arg))
        case Map():
            return replace(node, args=tuple(compacted(a) for a in node.args))
