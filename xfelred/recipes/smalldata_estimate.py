"""What small data will read, write and need, on paper."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from pathlib import Path

import xarray as xr

from xfelred.lazy.estimate import PROCESS
from xfelred.lazy.scheduler import n_threads
from xfelred.products.smalldata_file import Rows
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_estimate import BLOCK_BYTES, CubeEstimate
from xfelred.recipes.function_tree import PIECE
from xfelred.recipes.reduce_run import blocks_of, products_of
from xfelred.recipes.smalldata_blocks import lanes_of
from xfelred.recipes.smalldata_plan import smalldata_plan
from xfelred.recipes.smalldata_shots import whole_columns

COPIES = 3  # of a piece: frames, what becomes of them, results


def estimate_reduction(
    run: Run,
    recipe: object,
    out: str | os.PathLike[str],
    *,
    frames: Mapping[str, xr.DataArray] | None = None,
) -> CubeEstimate:
    """Return what `reduce_run` will read, write and need; reads scalars only.

    Tables with entries of shots are not known before, and not in ``bytes_output``.

    Raises
    ------
    ConfigError, SelectionEmptyError
        As `reduce_run`.
    """
    plan = smalldata_plan(run, recipe, frames)
    blocks = blocks_of(plan)
    tasks = len(blocks)
    for detector in plan.detectors.values():
        tasks += len(blocks)
        for block in blocks:
            tasks += sum(1 for _ in lanes_of(detector, {}, block))
    whole = sum(values.nbytes for values in whole_columns(plan.shots, None).values())
    n = len(plan.shots.ids)
    of_rows = sum(
        n * prod(c.shape) * c.dtype.itemsize
        for c in plan.columns
        if isinstance(c, Rows)
    )
    of_sums = sum(8 * len(d.sums) * prod(d.sum_shape) for d in plan.detectors.values())
    read = [d.frames for d in plan.detectors.values()]
    known = BLOCK_BYTES * len(blocks) + whole
    return CubeEstimate(
        blocks=len(blocks),
        tasks=tasks,
        bytes_read=run.plan(*read).bytes_to_read if read else 0,
        bytes_output=whole + of_rows + of_sums,
        memory_estimate=PROCESS + known + n_threads() * (COPIES * PIECE + 2 * of_sums),
        client_memory=PROCESS + known + of_rows // max(len(blocks), 1) + 2 * of_sums,
        paths=[str(p) for p in products_of(plan, Path(out).absolute())],
    )
