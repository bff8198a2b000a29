"""The only place that builds dask graphs: plan -> recipe -> graph -> reduction.

A *plan* (`source`) says which rows of which dataset fill which place of an array: a few
integer arrays for a whole run. A *recipe* (`nodes`) is a small tree of plans, constants
and the kernels applied to them; `map_frames` adds a node, a selection cuts the tree
down to the plans, so that only what is wanted is read. A `PlannedArray` (`array`) is a
dask array that keeps its recipe; its *graph* (`layers`) is one layer whatever the
recipe, of which each task evaluates the tree for its block. What numpy and xarray do
number by number (`arithmetic`) becomes steps of one node (`elementwise`), whatever a
user writes; the rest is left to dask. A *reduction* (`reduce_frames`) streams: a task
reads, corrects and adds up many frames piece by piece (`leaves`), and the states are
combined in a fixed order; what is added up is a value of `xfelred.reductions`. Many
bins are cut by bins (`by_bin`); those of ordinary dask arrays are added to block after
block (`in_turn`). A result that is gathered is finished where it will lie (`rooms`).
What a computation will cost (`estimate`, `needs`) is found without running it. Many
computations follow one another so that workers are never idle (`in_flight`).
"""

# They say how numpy's functions work on planned arrays.
from xfelred.lazy import arithmetic as arithmetic
from xfelred.lazy import statistics as statistics
from xfelred.lazy.array import PlannedArray, planned
from xfelred.lazy.blocks import held, map_frames
from xfelred.lazy.by_bin import reduce_bins
from xfelred.lazy.cursor import Cursor, load
from xfelred.lazy.gaps import stored_again
from xfelred.lazy.nodes import Const, Map, Node, Source, View
from xfelred.lazy.pairwise import map_pairs, reduce_pairs
from xfelred.lazy.partition import block_chunks
from xfelred.lazy.reduce import reduce_frames
from xfelred.lazy.scheduler import client, shares_memory
from xfelred.lazy.source import Patterns, ReadPlan, RowReader, Rows, one_each

__all__ = [
    "Const",
    "Cursor",
    "Map",
    "Node",
    "Patterns",
    "PlannedArray",
    "ReadPlan",
    "RowReader",
    "Rows",
    "Source",
    "View",
    "block_chunks",
    "client",
    "held",
    "load",
    "map_frames",
    "map_pairs",
    "one_each",
    "planned",
    "reduce_bins",
    "reduce_frames",
    "reduce_pairs",
    "shares_memory",
    "stored_again",
]
