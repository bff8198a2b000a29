"""The only place that builds dask graphs."""

from xfelred.lazy.array import PlannedArray, planned
from xfelred.lazy.binned import BinStatistics
from xfelred.lazy.blocks import map_frames
from xfelred.lazy.cursor import Cursor, load
from xfelred.lazy.gathered import Gathered
from xfelred.lazy.leaves import Reduction, State
from xfelred.lazy.nodes import Const, Map, Node, Source, View, stored_again
from xfelred.lazy.pairwise import map_pairs, reduce_pairs
from xfelred.lazy.partition import block_chunks
from xfelred.lazy.reduce import reduce_frames
from xfelred.lazy.regression import Regression
from xfelred.lazy.scheduler import client, shares_memory
from xfelred.lazy.source import Patterns, ReadPlan, RowReader, Rows, one_each
from xfelred.lazy.statistics import Statistics

__all__ = [
    "BinStatistics",
    "Const",
    "Cursor",
    "Gathered",
    "Map",
    "Node",
    "Patterns",
    "PlannedArray",
    "ReadPlan",
    "Reduction",
    "Regression",
    "RowReader",
    "Rows",
    "Source",
    "State",
    "Statistics",
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
]
