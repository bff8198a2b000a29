"""Cubes written block by block: a job that was interrupted goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import dask
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import logger_of
from xfelred.lazy.in_flight import results_of
from xfelred.lazy.scheduler import client, n_threads, this_machine
from xfelred.products.atomic import remove
from xfelred.products.faults import explained
from xfelred.products.lock import only_writer
from xfelred.recipes import cube_state
from xfelred.recipes.cube import CubePlan, cube_plan
from xfelred.recipes.cube_blocks import (
    DetectorShots,
    binned_dataset,
    block_groups,
    blocks_of,
    detector_shots,
    saving,
    sums_of,
)
from xfelred.recipes.cube_places import Places, begin, make_directory, remove_stale
from xfelred.recipes.cube_products import product_paths, write_products
from xfelred.recipes.function_values import sources_of
from xfelred.recipes.manifest import Block, Job, Manifest, read_manifest
from xfelred.recipes.sources import all_sources

logger = logger_of("xfelred.recipes")

# Sums of blocks on disk are put together when there is more of them than this.
LEAST_TO_MERGE = 1 << 30
GROUPS_PER_WORKER = 2
PRODUCT_THREADS = 4
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class CubeResult:
    """What `write_cube`, or the command for small data, has written.

    Attributes
    ----------
    paths : list of Path
        Products, complete.
    blocks, computed, reused : int
        Blocks of shots; how many this call computed, and found done.
    cut_flow : list of dict
        Of a cube, for each laser state: ``laser, total, passed, rows``.
    """

    paths: list[Path]
    blocks: int
    computed: int
    reused: int
    cut_flow: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {**asdict(self), "paths": [str(p) for p in self.paths]}


@entry
def write_cube(
    run: Any,
    recipe: object,
    out: str | os.PathLike[str],
    *,
    resume: bool = True,
    overwrite: bool = False,
    filter: str | None = None,
    frames: Mapping[str, xr.DataArray] | None = None,
    compat: bool | None = None,
    scheduler: object = None,
    report: Report | None = None,
) -> CubeResult:
    """Write a cube block by block; a call that was interrupted can be continued.

    Parameters
    ----------
    run : Run
        Of any facility.
    recipe : CubeRecipe, path or dict
    out : path
        Directory for the products, made if it is not there. Until the cube is complete
        everything is in ``<out>/cube_<run>_<axes>[_<filter>].inprogress``.
    resume : bool, optional
        Continue what an interrupted call has left; do nothing if the cube is finished.
        False: both are errors.
    overwrite : bool, optional
        Start anew. Finished products stay until the new ones are complete.
    filter : str, optional
        Which of the recipe's filters; by default the first.
    frames : dict of str to DataArray, optional
        Frames of detectors, with a coordinate ``train``, joined by ID.
    compat : bool, optional
        Bins, empty bins and bad pixels as in the cubes of smalldata_tools; by default
        what the recipe says (``output.compat``).
    scheduler : str or distributed.Client, optional
        Of dask; by default the one that is set.
    report : callable, optional
        ``report(blocks done, blocks)`` is called after every step.

    Returns
    -------
    CubeResult

    Raises
    ------
    ConfigError
        The recipe is wrong; or it, or the source, has changed since the first blocks
        were computed. The message says what.
    SelectionEmptyError
        No shot passes the filter; it has the table as ``cut_flow``.
    OutputExistsError
        There is something already, and neither option allows to go on; or another job
        is writing this cube.
    OutputError
        The disk is full, or fails. Finished blocks are kept.
    WorkersLostError
        Workers of the cluster died again and again.

    Notes
    -----
    Blocks are consecutive shots (``execution.block_trains``) and are added up in their
    order, so that the result has the same bits on any scheduler, interrupted or not.
    Where a block reaches so many bins that its sums would not be small beside its
    frames, a few blocks are computed at once. Who computes a piece of the sums writes
    it, so that neither this process nor a worker holds all sums of a block; on a
    cluster, all workers have to reach the directory `out`.
    """
    plan = cube_plan(run, recipe, filter=filter, frames=frames, compat=compat)
    place = Path(out).absolute()
    places = Places(place, plan.name)
    job = Job(
        plan.recipe.sha256,
        plan.recipe.model.model_dump(mode="json"),
        all_sources(run, plan.frames, sources_of(plan.facts.values())),
        {"filter": plan.shots.filter_name, "compat": plan.compat},
    )
    wanted = Manifest(job, blocks_of(plan))
    products, flow = product_paths(plan, place), plan.shots.flow_list()
    how = How(resume, overwrite, scheduler)
    with begun(places, wanted, products, place / plan.name, how) as now:
        if now is None:
            return finished_result(places, products, flow)
        tell = report or (lambda _, __: None)
        paths, done = computed(places, now, plan, frames, tell)
        return finish(places, done, now.n_done, paths, flow)


@dataclass(frozen=True)
class How:
    """Whether to go on with what is there, and what computes."""

    resume: bool = True
    overwrite: bool = False
    scheduler: object = None


@contextmanager
def begun(
    places: Places, wanted: Manifest, products: list[Path], lock: Path, how: How
) -> Iterator[Manifest | None]:
    """Work inside on what a job has to do; None if it is finished; see `begin`."""
    chosen = {} if how.scheduler is None else {"scheduler": how.scheduler}
    with dask.config.set(chosen), explained(places.work, resume=True):
        make_directory(places.out)
        with only_writer(lock):
            yield begin(
                places, wanted, products, resume=how.resume, overwrite=how.overwrite
            )


def finished_result(
    places: Places, paths: list[Path], flow: list[dict[str, Any]]
) -> CubeResult:
    n = len(read_manifest(places.finished).blocks)
    logger.info("%s is finished", places.name)
    return CubeResult(paths, n, 0, n, flow)


def finish(
    places: Places,
    done: Manifest,
    reused: int,
    paths: list[Path],
    flow: list[dict[str, Any]],
) -> CubeResult:
    """Note that a job is finished, and remove what it worked with."""
    n = len(done.blocks)
    files = [p.name for p in paths]
    result = {"computed": n - reused, "reused": reused, "products": files}
    remove_stale(places, paths)
    replace(done, result=result).write(places.finished)
    remove(places.work)
    return CubeResult(paths, n, n - reused, reused, flow)


def computed(
    places: Places,
    now: Manifest,
    plan: CubePlan,
    frames: Mapping[str, xr.DataArray] | None,
    report: Report,
) -> tuple[list[Path], Manifest]:
    """Compute the blocks that are missing, then write the products."""
    detectors = detector_shots(plan)
    report(now.n_done, len(now.blocks))
    now = computed_blocks(places, now, detectors, limit_of(detectors), report)
    names = list(detectors)
    sums = {}
    if now.blocks:
        every = range(len(now.blocks))
        sums = cube_state.load(cube_state.merge(places.work, names, every), names)
    binned = {n: binned_dataset(d, sums.get(n)) for n, d in detectors.items()}
    with this_machine(), dask.config.set(num_workers=product_threads()):
        return write_products(plan, binned, places.work, places.out, frames), now


def product_threads() -> int:
    """Return how many threads write products: each holds some blocks of the cube."""
    return min(n_threads(), PRODUCT_THREADS)


def limit_of(detectors: Mapping[str, DetectorShots]) -> int:
    """Return how many bytes of sums may be on disk before they are put together."""
    cube = sum(
        8 * (1 + d.squares) * d.labels.n * prod(d.kept_shape)
        for d in detectors.values()
    )
    return max(LEAST_TO_MERGE, 2 * cube)  # putting them together reads and writes all


def computed_blocks(
    places: Places,
    now: Manifest,
    detectors: Mapping[str, DetectorShots],
    limit: int,
    report: Report,
) -> Manifest:
    """Compute what is missing; return the manifest with all blocks done."""
    names = list(detectors)

    def groups() -> Iterator[list[tuple[range, Any]]]:
        for group in block_groups([b for b in now.blocks if not b.done], detectors):
            (sums,) = sums_of([group], detectors)
            yield [(ids_of(group), saving(sums, names, places.work, ids_of(group)))]

    with results_of(groups(), n_at_once()) as found:
        for ids, _ in (pair for some in found for pair in some):
            now = now.with_done(ids)  # only what is safe on disk
            now.write(places.unfinished)
            report(now.n_done, len(now.blocks))
            # In their order: what follows a block that is not done has to wait.
            first = next((b.id for b in now.blocks if not b.done), len(now.blocks))
            states = cube_state.saved(places.work, range(first))
            if len(states) > 2 and sum(map(cube_state.size_of, states)) > limit:
                cube_state.merge(places.work, names, range(first))
    return now


def ids_of(group: list[Block]) -> range:
    return range(group[0].id, group[-1].id + 1)


def n_at_once() -> int:
    workers = client()
    # Some for each worker: none of them waits for another, or for this process.
    return GROUPS_PER_WORKER * max(1, len(workers.nthreads())) if workers else 1
