"""The only place that builds dask graphs."""

from xfelred.lazy.array import PlannedArray, planned
from xfelred.lazy.blocks import map_frames
from xfelred.lazy.cursor import Cursor, load
from xfelred.lazy.nodes import Const, Map, Node, Source, View, stored_again
from xfelred.lazy.pairwise import map_pairs, reduce_pairs
from xfelred.lazy.partition import block_chunks
from xfelred.lazy.reduce import reduce_frames
from xfelred.lazy.scheduler import client, shares_memory
from xfelred.lazy.source import Patterns, ReadPlan, RowReader, Rows, one_each
from xfelred.lazy.statistics import streamed

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
    "load",
    "map_frames",
    "map_pairs",
    "one_each",
    "planned",
    "reduce_frames",
    "reduce_pairs",
    "shares_memory",
    "stored_again",
    "streamed",
]
