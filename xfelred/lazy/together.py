"""Graphs in which results of the same frames are made in one pass through the files.

Alone, each result reads the run as suits it best. `together` finds those of a graph
that read the same, cuts the run into lanes (`xfelred.lazy.lanes`), and lets these make
what the layers of the graph had made; everything above is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, cast

import dask.array as da
import numpy as np
from dask.base import tokenize

from xfelred.errors import warn
from xfelred.lazy.by_bin import BinMaker
from xfelred.lazy.dask_seam import HighLevelGraph, Layer
from xfelred.lazy.frames import BlockFrames, RecipeFrames
from xfelred.lazy.lane_layers import LaneBlocks, Lanes, LaneStates
from xfelred.lazy.lane_plan import FEW, Result, few_bytes, mixed
from xfelred.lazy.layers import recipe_of
from xfelred.lazy.leaves import StreamMaker
from xfelred.lazy.nodes import (
    Const,
    Map,
    Node,
    Source,
    View,
    lead_dims,
    pendings,
    sizes,
    sources,
)
from xfelred.lazy.pairwise import PairLayer, PairMaker, PairParts
from xfelred.lazy.reduce import StateLayer

STATES = 256 << 20  # bytes of the sums of a lane; larger ones are made by a pass each


def together(graph: HighLevelGraph, names: Iterable[str]) -> HighLevelGraph:
    """Return a graph of the same keys whose results `names` read in one pass."""
    results = results_in(graph, set(names))
    layers = dict(graph.layers)
    below = {name: set(others) for name, others in graph.dependencies.items()}
    alone: list[Result] = []
    for group in groups_of(results):
        able = [r for r in group if can_share(r)]
        alone += [r for r in group if r not in able]
        if len(able) < 2:
            continue
        lanes = Lanes.of(able)
        layers[lanes.name], below[lanes.name] = lanes, set()
        for result in able:
            for name, layer, needs in replaced(result, lanes):
                layers[name], below[name] = layer, needs
    if alone:
        names_of = ", ".join(sorted(r.name.rpartition("-")[0] for r in alone))
        warn(
            f"{len(alone)} of the results read the files on their own ({names_of}):"
            " their sums are too large to be held beside others', or they need all"
            " pulses, or the whole run, or what is computed from it, at once"
        )
    return HighLevelGraph(layers, below)


def results_in(graph: HighLevelGraph, names: set[str]) -> list[Result]:
    """Return the layers that read and that something else than a recipe needs."""
    known: dict[Any, Node] = {}
    found = []
    for name, layer in graph.layers.items():
        recipes = recipes_of(layer)
        users = [graph.layers[user] for user in graph.dependents[name]]
        needed = name in names or any(recipe_of(user) is None for user in users)
        if recipes and (needed or recipe_of(layer) is None):
            same = [tuple(interned(n, known) for n in some) for some in recipes]
            found.append(Result(str(name), layer, same))
    for result in found:
        result.read = read_by(result, known)
    return [r for r in found if r.read and sizes(r.node).get(r.run, 1)]


def read_by(result: Result, known: Mapping[Any, Node]) -> set[int]:
    """Return what a result reads along the run, and what that is a part of."""
    nodes = (node for some in result.recipes for node in some)
    read = [s for node in nodes for s in sources(node) if result.run in s.dims]
    wholes = (known.get((Source, s.origin.token, s.dims)) for s in read if s.origin)
    return {id(s) for s in (*read, *wholes) if s is not None}


def recipes_of(layer: Layer) -> list[tuple[Node, ...]]:
    """Return the recipes that a layer evaluates, one tuple for each of its jobs."""
    pairs, found = pairs_of(layer), recipe_of(layer)
    if pairs is not None and isinstance(pairs.frames, RecipeFrames):
        return [(pairs.frames.node,)]
    if isinstance(layer, StateLayer):
        make = layer.leaves.make
        if isinstance(make, BinMaker):
            return [(make.nodes[0], of_bins(make, i)) for i in range(len(make.widths))]
        return [make.nodes] if isinstance(make, StreamMaker) else []
    return [] if found is None or found.node is None else [(found.node,)]


def pairs_of(layer: Layer) -> PairParts | None:
    if isinstance(layer, PairLayer):
        return layer.parts
    make = layer.leaves.make if isinstance(layer, StateLayer) else None
    return make.parts if isinstance(make, PairMaker) else None


def of_bins(make: BinMaker, i: int) -> Const:
    """Return the labels of frames in the bins of a block; no bin for all others."""
    labels = make.nodes[1]
    assert isinstance(labels, Const)
    own = np.full_like(labels.array, -1)
    own[make.shots[i]] = labels.array[make.shots[i]]
    return Const(own, labels.dims, tokenize(labels.token, i, "of-bins"))


def interned(node: Node, known: dict[Any, Node]) -> Node:
    """Return a recipe in which equal nodes are the same object."""
    key = type(node), node.token, node.dims
    if key not in known:
        if isinstance(node, View):
            node = replace(node, arg=interned(node.arg, known))
        elif isinstance(node, Map):
            node = replace(node, args=tuple(interned(a, known) for a in node.args))
        known[key] = node
    return known[key]


def groups_of(results: Sequence[Result]) -> list[list[Result]]:
    """Return the results that read something together with another one, in groups."""
    groups: list[list[Result]] = []
    for result in results:
        mine = [g for g in groups if any(result.read & r.read for r in g)]
        joined = [r for group in mine for r in group]
        groups = [g for g in groups if g not in mine] + [[*joined, result]]
    return [group for group in groups if len(group) > 1]


def can_share(result: Result) -> bool:
    """Tell whether a result can be made from lanes, a few frames at a time."""
    node, run = result.node, result.run
    nodes = [n for some in result.recipes for n in some]
    if run not in node.dims or any(run in mixed(n) for n in nodes):
        return False
    # Lanes need nothing that has to be computed before.
    if any(map(pendings, nodes)):
        return False
    if result.state_bytes() > STATES or few_bytes(result) > FEW:
        return False
    if not isinstance(result.maker, StreamMaker):
        return True
    # Sums of many pulses are cut by pulses, which lanes are not.
    chunks = result.maker.chunks
    others = set(lead_dims(node)) - {run}
    return all(len(chunks[d]) == 1 for d in result.maker.stream.kept if d in others)


def replaced(result: Result, lanes: Lanes) -> Iterator[tuple[str, Layer, set[str]]]:
    """Yield (name, layer, what it needs) for the layers that a result now has."""
    layer, pairs, recipe = result.layer, pairs_of(result.layer), recipe_of(result.layer)
    if pairs is not None and isinstance(pairs.frames, RecipeFrames):
        # Pairs meet across lanes: each takes the frames that it needs out of these.
        node, name = result.node, f"frames-{tokenize(lanes.name, result.name)}"
        lengths = tuple(np.diff(lanes.edges).tolist())
        n = sizes(node)
        chunks = tuple(lengths if d == lanes.run else (n[d],) for d in node.dims)
        yield name, LaneBlocks(name, result, lanes, chunks), {lanes.name}
        graph = HighLevelGraph({name: {}}, {name: set()})
        array = da.Array(graph, name, chunks, dtype=node.dtype)
        of = BlockFrames(array, len(pairs.frames.frame_dims), pairs.frames.token)
        yield result.name, with_pairs(layer, replace(pairs, frames=of)), {name}
    elif isinstance(layer, StateLayer):
        yield result.name, LaneStates(layer, result, lanes), {lanes.name}
    elif recipe is not None:
        blocks = LaneBlocks(result.name, result, lanes, recipe.chunks)
        yield result.name, blocks, {lanes.name}


def with_pairs(layer: Layer, parts: PairParts) -> Layer:
    """Return a layer of pairs whose frames come from somewhere else."""
    new = copy(layer)
    if isinstance(new, PairLayer):
        new.parts = parts
    elif isinstance(new, StateLayer):
        make = replace(cast(PairMaker, new.leaves.make), parts=parts)
        new.leaves = replace(new.leaves, make=make)
    return new
