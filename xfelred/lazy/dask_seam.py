"""The insides of dask that this package stands on; only this file knows them.

Checked with dask 2025.4.0 and 2026.8.0. What computes is in `xfelred.lazy.scheduler`.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import dask.array as da
from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    Task,
    TaskRef,
    convert_legacy_graph,
    execute_graph,
)
from dask._task_spec import List as TaskList
from dask.array.core import handle_out, slices_from_chunks
from dask.array.optimization import optimize
from dask.blockwise import Blockwise, BlockwiseDep, blockwise, optimize_blockwise
from dask.callbacks import Callback
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer

Key: TypeAlias = Hashable
"""Of a task: a name, or a tuple of a name and numbers."""

__all__ = [
    "Alias",
    "Blockwise",
    "BlockwiseDep",
    "DataNode",
    "GraphNode",
    "HighLevelGraph",
    "Key",
    "Layer",
    "MaterializedLayer",
    "Task",
    "TaskList",
    "TaskRef",
    "as_kind",
    "as_others",
    "blockwise",
    "calls",
    "execute_graph",
    "flatten",
    "keeps_blocks",
    "known_keys",
    "optimize_blockwise",
    "plans_queries",
    "slices_from_chunks",
    "tasks_below",
    "tasks_of",
    "wraps_tasks",
    "written_to",
]


def as_kind(kind: type[da.Array], array: da.Array) -> da.Array:
    """Return a dask array as one of a class below it, of the same graph."""
    return kind(
        array.dask, array.name, array.chunks, dtype=array.dtype, meta=array._meta
    )


def calls(item: object) -> bool:
    """Tell whether an item of a graph calls a function; old ones are tuples."""
    if isinstance(item, tuple):
        return bool(item) and callable(item[0])
    return isinstance(item, Task)


def keeps_blocks() -> bool:
    """Tell whether dask keeps what tasks return for computations to come."""
    module = sys.modules.get("dask.cache")
    owners = (getattr(f, "__self__", None) for some in Callback.active for f in some)
    return module is not None and any(isinstance(o, module.Cache) for o in owners)


def known_keys(graph: HighLevelGraph, name: str) -> set[Key]:
    """Return the keys that tasks of a layer may stand on; only old tasks need this."""
    layer = graph.layers[name]
    # Layers of 2025.4 do not say so.
    if not getattr(layer, "has_legacy_tasks", True):
        return set()
    below = (graph.layers[d].get_output_keys() for d in graph.dependencies[name])
    return set(layer).union(*below)


def wraps_tasks(function: object) -> bool:
    """Tell whether a function of dask computes tasks that are its arguments."""
    return (getattr(function, "__module__", None) or "").startswith("dask._")


def plans_queries() -> bool:
    """Tell whether the arrays of dask are expressions, for which there are no layers.

    That is so for the whole process if it was set when `dask.array` was imported; set
    later, it changes nothing.
    """
    return "_array_expr" in da.Array.__module__


def written_to(out: object, result: da.Array) -> Any:
    """Return the array of ``out=``, which is now `result`, as dask does."""
    return handle_out(out, result)


def tasks_below(
    arrays: Sequence[da.Array], keys: Sequence[Sequence[Key]]
) -> dict[Key, GraphNode]:
    """Return the tasks that blocks of arrays need, joined as dask would join them."""
    graph = HighLevelGraph.merge(*(array.dask for array in arrays))
    return tasks_of(graph, [key for some in keys for key in some])


def tasks_of(graph: HighLevelGraph, keys: Sequence[Key]) -> dict[Key, GraphNode]:
    """Return the tasks for some keys of a graph, joined as dask would join them."""
    return dict(convert_legacy_graph(dict(optimize(graph, keys))))


def as_others(
    graph: HighLevelGraph, keys: Sequence[Key], mark: str
) -> tuple[dict[Key, Any], dict[Key, Key]]:
    """Return the tasks for some keys under other keys, and which those are.

    What a cluster holds already keeps its key.
    """
    found = dict(optimize(graph, keys))
    # Futures are no tasks, which is all that is left of a graph in dask's new form.
    tasks = convert_legacy_graph(found)
    names: dict[Key, Key] = {key: (mark, key) for key in tasks}
    own: dict[Key, Any] = {k: some for k, some in found.items() if k not in tasks}
    for key, task in tasks.items():
        own[names[key]] = task.substitute(names, key=names[key])
    return own, names
