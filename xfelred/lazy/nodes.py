"""The recipe of a lazy array: sources, constants and the kernels applied to them.

Recipes are small frozen trees. They can be cut to a selection before anything is
read, evaluated region by region without dask, and turned into dask layers
(`xfelred.lazy.array`). A region is one slice with step 1 for every axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.lazy.indexing import Selector, is_whole, length, subset
from xfelred.lazy.source import ReadPlan

HASHED = 256 << 20  # bytes in memory whose values make the name of an array

Region = Mapping[str, slice]
Selection = Mapping[str, Selector]
Kernel = Callable[..., NDArray[Any]]


@dataclass(frozen=True)
class Origin:
    """Which source one is a box of, and where it begins in it; `whole`: it is it."""

    token: str
    starts: tuple[int, ...]
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Source:
    plan: ReadPlan
    dims: tuple[str, ...]
    origin: Origin | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.plan.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.plan.dtype

    @property
    def token(self) -> str:
        return self.plan.token


@dataclass(frozen=True, eq=False)
class Const:
    """An array in memory, such as a bad-pixel map; `array` may travel separately."""

    array: NDArray[Any]
    dims: tuple[str, ...]
    token: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype


@dataclass(frozen=True, eq=False)
class Pending(Const):
    """A constant that tasks compute first: `array` is lazy, as all of it is needed.

    A task takes the part that it needs, `index`, one selector for each axis.
    """

    index: tuple[Selector, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        pairs = zip(self.index, self.array.shape, strict=True)
        return tuple(length(s, n) for s, n in pairs)


@dataclass(frozen=True, eq=False)
class View:
    """The same numbers with other axes.

    `dims` are those of `arg` reordered, axes of length 1 are dropped or, where `arg`
    does not have them, new.
    """

    arg: Node
    dims: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        n = sizes(self.arg)
        return tuple(n.get(d, 1) for d in self.dims)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arg.dtype

    @cached_property
    def token(self) -> str:
        return tokenize("view", self.arg.token, self.arg.dims, self.dims)


@dataclass(frozen=True, eq=False)
class Map:
    """A kernel on blocks of frames; see `xfelred.lazy.map_frames` for its contract.

    `args` are the array and its companions. `frame_dims` may be cut anywhere; of the
    `core_dims` of the first argument a block always holds all, and `out_core`, names
    and lengths, stand in their place in the result.
    """

    kernel: Kernel
    args: tuple[Node, ...]
    frame_dims: tuple[str, ...]
    core_dims: tuple[str, ...]
    out_core: tuple[tuple[str, int], ...]
    dtype: np.dtype[Any]
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> tuple[str, ...]:
        return (*self.frame_dims, *(d for d, _ in self.out_core))

    @property
    def shape(self) -> tuple[int, ...]:
        n: dict[str, int] = {}
        for arg in self.args:
            n |= sizes(arg)
        return (*(n[d] for d in self.frame_dims), *(n for _, n in self.out_core))

    @cached_property
    def token(self) -> str:
        # With their dims: a mask along rows is not one along columns.
        tokens = [(arg.token, arg.dims) for arg in self.args]
        kernel = f"{self.kernel.__module__}.{self.kernel.__qualname__}"
        return tokenize(
            kernel,
            tokens,
            self.dims,
            self.core_dims,
            str(self.dtype),
            dict(self.params),
        )


Node = Source | Const | View | Map


def sizes(node: Node) -> dict[str, int]:
    return dict(zip(node.dims, node.shape, strict=True))


def full_region(node: Node) -> dict[str, slice]:
    return {d: slice(0, n, 1) for d, n in sizes(node).items()}


def narrow(
    node: Node, index: Selection, *, named: bool = True
) -> tuple[Node, dict[str, Selector]]:
    """Return (node cut to a selection, the part of the selection it cannot take).

    The selection names axes of `node`; axes that it does not name stay whole. Where
    nobody asks for the tokens of its sources, `named=False` saves the time to make one.
    """
    index = {d: s for d, s in index.items() if not is_whole(s, sizes(node)[d])}
    if not index:
        return node, {}
    match node:
        case Source():
            return narrow_source(node, index, named)
        case Pending() if not named:
            here = zip(node.dims, node.index, node.array.shape, strict=True)
            taken = (subset(s, index[d], n) if d in index else s for d, s, n in here)
            return replace(node, index=tuple(taken)), {}
        case Pending():
            wanted = (index.get(d, slice(0, n, 1)) for d, n in sizes(node).items())
            return pending(part_of(node.array, tuple(wanted)), node.dims), {}
        case Const():
            wanted = (index.get(d, slice(None)) for d in node.dims)
            array = part_of(node.array, tuple(wanted))
            # Always named: tasks share constants by name.
            return Const(array, node.dims, tokenize(node.token, index)), {}
        case View():
            below = {d: s for d, s in index.items() if d in node.arg.dims}
            arg, rest = narrow(node.arg, below, named=named)
            new = {d: s for d, s in index.items() if d not in below}
            return replace(node, arg=arg), {**rest, **new}
        case Map():
            return narrow_map(node, index, named)


def narrow_source(
    node: Source, index: Selection, named: bool
) -> tuple[Source, dict[str, Selector]]:
    """Cut a source; only the axes inside a row must be plain slices."""
    first_pixel = len(node.dims) - len(node.plan.entry) + node.plan.n_inner
    slices_only = node.dims[first_pixel:]
    rest: dict[str, Selector] = {
        d: s for d, s in index.items() if d in slices_only and not isinstance(s, slice)
    }
    taken = tuple(
        index[d] if d in index and d not in rest else slice(0, n, 1)
        for d, n in sizes(node).items()
    )
    token = tokenize(node.token, taken) if named else ""
    plan = node.plan.narrow(taken, token=token)
    return Source(plan, node.dims, origin_of(node, taken) if named else None), rest


def origin_of(node: Source, taken: tuple[Selector, ...]) -> Origin | None:
    """Return where a selection of modules or pixels comes from; None for others."""
    lead = len(node.plan.lead_shape) + node.plan.n_inner
    run = zip(taken[:lead], node.shape, strict=False)
    if not all(is_whole(s, n) for s, n in run):
        return None
    old = node.origin or Origin(node.token, (0,) * len(taken))
    starts = []
    for s, start in zip(taken, old.starts, strict=True):
        if not isinstance(s, slice) or s.step not in (None, 1):
            return None
        starts.append(start + s.start)
    return Origin(old.token, tuple(starts))


def narrow_map(
    node: Map, index: Selection, named: bool
) -> tuple[Map, dict[str, Selector]]:
    """Cut the arguments of a map along the axes that its kernel does not mix."""
    rest = {d: s for d, s in index.items() if d not in node.frame_dims}
    taken = {d: s for d, s in index.items() if d not in rest}
    args = []
    for arg in node.args:
        cut, left = narrow(
            arg, {d: s for d, s in taken.items() if d in arg.dims}, named=named
        )
        if left:
            # All arguments must be cut alike: leave these axes to dask.
            keep = {d: s for d, s in taken.items() if d not in left}
            smaller, more = narrow_map(node, keep, named)
            return smaller, {**rest, **left, **more}
        args.append(cut)
    return replace(node, args=tuple(args)), rest


def constant(array: NDArray[Any], dims: tuple[str, ...]) -> Const:
    """Return an array in memory as a node."""
    # The user may change it before anything is computed.
    own = array.copy() if array.nbytes <= HASHED else array
    return Const(own, dims, tokenize(own))


def pending(array: Any, dims: tuple[str, ...]) -> Pending:
    """Return a lazy array, which is small beside the frames, as a node."""
    return Pending(array, dims, array.name, tuple(slice(0, n, 1) for n in array.shape))


def part_of(array: NDArray[Any], index: tuple[Selector, ...]) -> NDArray[Any]:
    """Return what selectors take along each axis, one after the other."""
    for axis, selector in enumerate(index):
        if not is_whole(selector, array.shape[axis]):
            array = array[(slice(None),) * axis + (selector,)]
    return array


def pendings(node: Node) -> list[Pending]:
    """Return what must be computed before a recipe can be."""
    match node:
        case Pending():
            return [node]
        case View():
            return pendings(node.arg)
        case Map():
            return [p for arg in node.args for p in pendings(arg)]
        case _:
            return []


def viewed(node: Node, dims: tuple[str, ...]) -> Node:
    """Return a node with other axes, see `View`."""
    if isinstance(node, View):
        # An axis that is new in one view and gone in the next was never there.
        return viewed(node.arg, dims)
    return node if dims == node.dims else View(node, dims)


def all_dims(node: Node) -> set[str]:
    """Return the axes of a node and of all nodes below it."""
    match node:
        case Source() | Const():
            return set(node.dims)
        case View():
            return {*node.dims, *all_dims(node.arg)}
        case Map():
            return {*node.dims, *node.core_dims}.union(*map(all_dims, node.args))


def relabelled(node: Node, names: Mapping[str, str]) -> Node:
    """Return the same recipe with other names for its axes."""
    match node:
        case Source() | Const():
            return replace(node, dims=tuple(names.get(d, d) for d in node.dims))
        case View():
            return View(
                relabelled(node.arg, names), tuple(names.get(d, d) for d in node.dims)
            )
        case Map():
            return replace(
                node,
                args=tuple(relabelled(arg, names) for arg in node.args),
                frame_dims=tuple(names.get(d, d) for d in node.frame_dims),
                core_dims=tuple(names.get(d, d) for d in node.core_dims),
                out_core=tuple((names.get(d, d), n) for d, n in node.out_core),
            )


def sources(node: Node) -> list[Source]:
    match node:
        case Source():
            return [node]
        case Const():
            return []
        case View():
            return sources(node.arg)
        case Map():
            return [s for arg in node.args for s in sources(arg)]


def kernels(node: Node) -> list[Kernel]:
    match node:
        case View():
            return kernels(node.arg)
        case Map():
            return [node.kernel, *(k for arg in node.args for k in kernels(arg))]
        case _:
            return []


def whole_dims(node: Node) -> set[str]:
    """Return the axes of a node along which it must not be cut."""
    match node:
        case Source() | Const():
            return set()
        case View():
            return whole_dims(node.arg)
        case Map():
            below = set().union(*(whole_dims(arg) for arg in node.args))
            return {d for d, _ in node.out_core} | (below & set(node.dims))


def lead_dims(node: Node) -> tuple[str, ...]:
    """Return the axes that rows of files are spread over (train, pulse or frame)."""
    match node:
        case Source():
            plan = node.plan
            return node.dims[: len(plan.lead_shape) + plan.n_inner]
        case Const():
            return ()
        case View():
            return tuple(d for d in node.dims if d in lead_dims(node.arg))
        case Map():
            lead = {d for arg in node.args for d in lead_dims(arg)}
            return tuple(d for d in node.frame_dims if d in lead)


def module_dim(node: Node) -> str | None:
    """Return the name of the module axis, None if there is none any more."""
    found = [s.dims[len(lead_dims(s))] for s in sources(node)]
    return found[0] if found and found[0] in node.dims else None
