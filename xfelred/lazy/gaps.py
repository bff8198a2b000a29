"""Frames that were not recorded: whether there are some, and integers without them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from dask.base import tokenize

from xfelred.lazy.nodes import Node, Source, View, sources


def stored_again(node: Node, dtype: np.dtype[Any]) -> Node | None:
    """Return what is only read as numbers of another dtype, 0 where there is none.

    None if a kernel has worked on the numbers.
    """
    match node:
        case Source():
            token = tokenize(node.plan.token, str(dtype))
            plan = replace(
                node.plan, dtype=dtype, fill_value=dtype.type(0), token=token
            )
            return Source(plan, node.dims)
        case View():
            arg = stored_again(node.arg, dtype)
            return None if arg is None else View(arg, node.dims)
        case _:
            return None


def has_gaps(node: Node) -> bool:
    """Return whether a frame that a recipe would read was not recorded."""
    for source in sources(node):
        plan = source.plan
        if (plan.target < 0).any():
            return True
        # A shot with fewer entries than slots has gaps; flat plans have no slots.
        sizes = plan.patterns.sizes()[plan.pattern]
        if not plan.flat and (sizes < prod(plan.slot_shape)).any():
            return True
    return False
