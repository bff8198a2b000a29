"""The dask layer that applies a kernel to blocks of arrays without a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from xfelred.lazy.dask_seam import (
    GraphNode,
    Key,
    Task,
    TaskRef,
    slices_from_chunks,
)
from xfelred.lazy.evaluate import aligned, run_kernel
from xfelred.lazy.layers import Block, Recipe, only
from xfelred.lazy.nodes import Kernel, Map, sizes
from xfelred.lazy.rooms import Place, Room, blocks_of, put


def kernel_layer(
    node: Map, args: list[da.Array], arg_dims: list[tuple[str, ...]]
) -> da.Array:
    """Return the layer that applies a kernel to the blocks of other arrays."""
    pairs = [x for arg, dims in zip(args, arg_dims, strict=True) for x in (arg, dims)]
    # Core axes that change need labels of their own, or blockwise would align them with
    # those of the arguments; layers without new axes fuse with the one below.
    n = sizes(node.args[0])
    changed = node.out_core != tuple((d, n[d]) for d in node.core_dims)
    new_axes = {f"out-{d}": n for d, n in node.out_core} if changed else {}
    core = tuple(new_axes) if changed else node.core_dims
    call = KernelCall(
        node.kernel, tuple(arg_dims), (*node.frame_dims, *node.core_dims), node.params
    )
    found = da.blockwise(
        call, (*node.frame_dims, *core), *pairs, new_axes=new_axes,
        dtype=node.dtype, meta=np.empty((0,) * len(node.dims), node.dtype),
        align_arrays=False,
        name=f"{node.name}-{dask.base.tokenize(node.token, *(a.name for a in args))}",
    )  # fmt: skip
    names = tuple(arg.name for arg in args)
    how = Applied(None, found.chunks, call, names, node.frame_dims)
    found.dask.layers[found.name].recipe = how
    return found


@dataclass(frozen=True)
class KernelCall:
    """What applies a kernel to blocks of arrays, whose axes are `arg_dims`."""

    kernel: Kernel
    arg_dims: tuple[tuple[str, ...], ...]
    target: tuple[str, ...]
    params: Mapping[str, Any]

    def __call__(self, *blocks: Block, out: NDArray[Any] | None = None) -> NDArray[Any]:
        arrays = []
        for block, dims in zip(blocks, self.arg_dims, strict=True):
            arrays.append(aligned(only(block), dims, self.target))
        return run_kernel(self.kernel, arrays, self.params, out)

    def into(self, room: Room, place: Place, *blocks: Block) -> NDArray[Any]:
        """Apply the kernel to blocks of which the result will lie in a whole one."""
        found = self(*blocks, out=room.at(place))
        return put(found, room, place)


@dataclass(frozen=True)
class Applied(Recipe):
    """How the blocks of a kernel's layer are computed where they will lie.

    Of what it reads nothing is known: it has no node.
    """

    call: KernelCall
    names: tuple[str, ...]
    frame_dims: tuple[str, ...]

    def placed(self, name: str, room: Key) -> dict[Key, GraphNode]:
        tasks: dict[Key, GraphNode] = {}
        places = slices_from_chunks(self.chunks)
        for block, place in zip(blocks_of(self.chunks), places, strict=True):
            at = dict(zip(self.frame_dims, block, strict=False))
            refs = [
                TaskRef((arg, *(at.get(d, 0) for d in dims)))
                for arg, dims in zip(self.names, self.call.arg_dims, strict=True)
            ]
            key = (name, *block)
            tasks[key] = Task(key, self.call.into, TaskRef(room), place, *refs)
        return tasks
