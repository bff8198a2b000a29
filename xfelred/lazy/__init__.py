"""The only place that builds dask graphs."""

from xfelred.lazy.array import PlannedArray, planned
from xfelred.lazy.blocks import map_frames
from xfelred.lazy.leaves import Reduction, State
from xfelred.lazy.nodes import Const, Map, Node, Source, View
from xfelred.lazy.partition import block_chunks
from xfelred.lazy.reduce import reduce_frames
from xfelred.lazy.source import Patterns, ReadPlan, RowReader, Rows, one_each

__all__ = [
    "Const",
    "Map",
    "Node",
    "Patterns",
    "PlannedArray",
    "ReadPlan",
    "Reduction",
    "RowReader",
    "Rows",
    "Source",
    "State",
    "View",
    "block_chunks",
    "map_frames",
    "one_each",
    "planned",
    "reduce_frames",
]
