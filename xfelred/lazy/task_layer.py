"""A layer of dask whose tasks are made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xfelred.lazy.dask_seam import GraphNode, Key, Layer, MaterializedLayer


class TaskLayer(Layer):  # type: ignore[misc]
    """Tasks that are made when they are asked for.

    The graph is cut to what is asked before any task is made (`cull`), so a mean alone
    does not pay for the variance beside it.
    """

    # Our tasks are dask's objects, not tuples: there is nothing to convert.
    has_legacy_tasks = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.tasks: dict[Key, GraphNode] | None = None

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        """Return the tasks of some keys, and what else of this layer they need."""
        raise NotImplementedError

    def block_keys(self) -> set[Any]:
        """Return the keys of all blocks, which are all that a graph of tasks needs."""
        raise NotImplementedError

    def is_materialized(self) -> bool:
        return self.tasks is not None

    def materialized(self) -> dict[Key, GraphNode]:
        if self.tasks is None:
            self.tasks = self.make(self.block_keys())
        return self.tasks

    def __getitem__(self, key: Key) -> GraphNode:
        return self.materialized()[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.materialized())

    def __len__(self) -> int:
        return len(self.materialized())

    def cull(self, keys: set[Any], _: object) -> tuple[Layer, dict[Key, set[Any]]]:
        """Return the tasks for what `keys` ask for, and no more."""
        tasks = self.make(
            {k for k in keys if isinstance(k, tuple) and k[0] == self.name}
        )
        return MaterializedLayer(tasks), {
            k: set(t.dependencies) for k, t in tasks.items()
        }
