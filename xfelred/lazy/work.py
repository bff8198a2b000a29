"""What a layer of a graph has to do, and what it needs from the layers below."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from xfelred.lazy.source import ReadPlan

Block = tuple[int, ...]


@dataclass
class Need:
    """The part of a layer that is needed: some keys, or all of it.

    Of a layer of states, `labels` are results of which all blocks are needed.
    """

    keys: set[Any] = field(default_factory=set)
    whole: bool = False
    labels: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class LayerWork:
    """What one layer does: how many tasks, and how many of them read files.

    `plans` is what is read, and how often; `task_bytes` the memory of one task, and
    `held_bytes` that of what waits for the layer above; `calls` are functions, or
    classes of them, that its tasks call.
    """

    tasks: int
    reading: int = 0
    plans: tuple[tuple[ReadPlan, int], ...] = ()
    task_bytes: int = 0
    held_bytes: int = 0
    calls: tuple[Any, ...] = ()


Visit = tuple[LayerWork, dict[str, Need]]


def reads(plans: Iterable[tuple[ReadPlan, int]]) -> bool:
    return any(entries(plan) for plan, _ in plans)


def entries(plan: ReadPlan) -> int:
    """Return the number of rows of datasets that a plan reads."""
    if not prod(plan.entry_shape):
        return 0
    per_shot = plan.patterns.sizes()[plan.pattern]
    modules = np.count_nonzero(plan.target >= 0, axis=1)
    return int(per_shot @ modules)
