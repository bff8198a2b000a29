"""What a cube will read, write and need, on paper."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import xarray as xr

from xfelred.lazy.estimate import PROCESS, largest_block
from xfelred.readers.protocol import Run
from xfelred.recipes.cube import cube_plan
from xfelred.recipes.cube_blocks import (
    ROW_BYTES,
    DetectorShots,
    binned_dataset,
    block_groups,
    blocks_of,
    detector_shots,
    statistics_of,
)
from xfelred.recipes.cube_products import product_paths
from xfelred.recipes.manifest import Block
from xfelred.recipes.write_cube import product_threads

BLOCKS_OF_THREAD = 6  # of the cube, while means and variances are written
BLOCK_BYTES = 2000  # that the manifest takes for a block, in memory and as text


@dataclass(frozen=True)
class CubeEstimate:
    """What writing a cube will take.

    Attributes
    ----------
    blocks, tasks : int
        Blocks that can be resumed, and tasks of all of them together.
    bytes_read : int
        Values of the frames that are binned, as they are in memory before they are
        converted.
    bytes_output : int
        Products, before compression.
    memory_estimate : int
        Peak of what computes: this process, or every worker of a cluster.
    client_memory : int
        Peak of this process where a cluster computes.
    paths : list of str
    """

    blocks: int
    tasks: int
    bytes_read: int
    bytes_output: int
    memory_estimate: int
    client_memory: int
    paths: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self)


def estimate_cube(
    run: Run,
    recipe: object,
    out: str | os.PathLike[str],
    *,
    filter: str | None = None,
    frames: Mapping[str, xr.DataArray] | None = None,
    compat: bool | None = None,
) -> CubeEstimate:
    """Return what `write_cube` will read, write and need; reads scalars only.

    Takes the arguments of `write_cube`.

    Raises
    ------
    ConfigError, SelectionEmptyError
        As `write_cube`.
    """
    plan = cube_plan(run, recipe, filter=filter, frames=frames, compat=compat)
    detectors = detector_shots(plan)
    blocks = blocks_of(plan)
    groups = list(block_groups(blocks, detectors))
    read = [r for d in detectors.values() if (r := statistics_of(d))]
    whole = run.plan(*(a for r in read for a in r.values()))
    tasks = memory = 0
    if groups:
        # The group with the most shots stands for all of them.
        largest = max(
            groups, key=lambda g: sum(n_shots(d, g) for d in detectors.values())
        )
        parts = [d.of_blocks(largest) for d in detectors.values()]
        lazy = [list(statistics_of(p).values()) for p in parts]
        one = run.plan(*(a for arrays in lazy for a in arrays))
        tasks = one.tasks * len(groups)
        memory = max(one.peak_memory_per_worker - PROCESS, 0)
        # A thread has a piece of all sums of a detector when it writes them.
        pieces = (sum(map(largest_block, arrays)) for arrays in lazy)
        memory += one.threads * max(pieces, default=0)
    cube = plan.finished({n: binned_dataset(d, None) for n, d in detectors.items()})
    # Writing the cube holds some blocks of it, however small the frames are; the client
    # of a cluster does that, and knows all shots.
    rows = [8 * prod(d.kept_shape) for d in detectors.values()]
    writing = product_threads() * BLOCKS_OF_THREAD * max(ROW_BYTES, *rows, 0)
    # IDs and bins of all shots, and what they are made of.
    shots = sum(d.trains.nbytes + d.bins.nbytes for d in detectors.values())
    known = 4 * shots + BLOCK_BYTES * len(blocks)
    return CubeEstimate(
        blocks=len(blocks),
        tasks=tasks,
        bytes_read=whole.bytes_to_read,
        bytes_output=output_bytes(plan.recipe.model.output.formats, cube, detectors),
        memory_estimate=PROCESS + known + max(memory, writing),
        client_memory=PROCESS + known + writing,
        paths=[str(p) for p in product_paths(plan, Path(out).absolute())],
    )


def n_shots(detector: DetectorShots, group: Sequence[Block]) -> int:
    at = detector.positions(group[0].trains[0], group[-1].trains[1])
    return at.stop - at.start if isinstance(at, slice) else len(at)


def output_bytes(
    formats: Sequence[str], cube: xr.Dataset, detectors: Mapping[str, DetectorShots]
) -> int:
    # Cubes of LCLS have the sums of frames only, TIFF files one mean image.
    image = sum(8 * prod(d.kept_shape) for d in detectors.values())
    sums = sum(8 * prod(d.kept_shape) * d.labels.n for d in detectors.values())
    sizes = {"lcls_h5": sums, "tiff": image}
    return int(sum(sizes.get(kind, cube.nbytes) for kind in dict.fromkeys(formats)))
