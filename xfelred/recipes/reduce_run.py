"""Small data of a run: made block by block, resumed, in one file at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xfelred import __version__
from xfelred.entries import entry
from xfelred.errors import logger_of
from xfelred.lazy.in_flight import results_of
from xfelred.lazy.scheduler import client, n_threads
from xfelred.names import VERSION
from xfelred.products.atomic import publish, remove
from xfelred.products.faults import explained
from xfelred.products.lock import only_writer
from xfelred.products.smalldata_file import Column, Table, write_small_data
from xfelred.readers.protocol import Run
from xfelred.recipes import cube_state
from xfelred.recipes.cube_places import Places, begin, make_directory
from xfelred.recipes.manifest import Block, Job, Manifest, blocks_of_ids, read_manifest
from xfelred.recipes.smalldata_blocks import Array, block_task, combined, load
from xfelred.recipes.smalldata_config import configuration, finished_sums
from xfelred.recipes.smalldata_plan import DetectorPlan, SmallDataPlan, smalldata_plan
from xfelred.recipes.smalldata_shots import User, whole_columns
from xfelred.recipes.sources import all_sources
from xfelred.recipes.write_cube import Report, n_at_once, scheduled

logger = logger_of("xfelred.recipes")


@dataclass(frozen=True)
class How:
    """Whether to go on with what is there, and what computes."""

    resume: bool = True
    overwrite: bool = False
    scheduler: object = None


@dataclass(frozen=True)
class ReduceResult:
    """What `reduced` has written.

    Attributes
    ----------
    path : Path
        The file, complete.
    blocks, computed, reused : int
        Blocks of the run; how many this call computed, and found done.
    """

    path: Path
    blocks: int
    computed: int
    reused: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        counts = {k: getattr(self, k) for k in ("blocks", "computed", "reused")}
        return {"paths": [str(self.path)], **counts, "cut_flow": []}


@entry
def reduce_run(
    run: Any,
    recipe: object,
    out: str | os.PathLike[str],
    *,
    resume: bool = True,
    overwrite: bool = False,
    frames: Mapping[str, xr.DataArray] | None = None,
    user: Mapping[str, xr.DataArray] | xr.Dataset | None = None,
    scheduler: object = None,
) -> Path:
    """Make small data of a run, block by block; an interrupted call can be continued.

    Parameters
    ----------
    run : Run
        Of any facility.
    recipe : SmallDataRecipe, path or dict
    out : path
        Directory for the file, made if it is not there. Until it is complete everything
        is in ``<out>/<run>.inprogress``.
    resume : bool, optional
        Continue what an interrupted call has left; do nothing if the file is finished.
        False: both are errors.
    overwrite : bool, optional
        Start anew. A finished file stays until the new one is complete.
    frames : dict of str to DataArray, optional
        Frames of detectors, with a coordinate ``train``, joined by ID.
    user : Dataset or dict of str to DataArray (train, ...), optional
        Values of shots, joined by ID; they become ``userValues/<name>``.
    scheduler : str or distributed.Client, optional
        Of dask; by default the one that is set.

    Returns
    -------
    Path
        ``<out>/<run>.h5``, laid out as small data of the LCLS, for `xfelred.open_run`
        and h5py: one row for each shot, in the order of IDs. What a shot does not have
        is -99999 in integers, NaN in floats, and no entries in tables.

    Raises
    ------
    ConfigError
        The recipe is wrong; or it, or the source, has changed since the first blocks
        were made. The message says what.
    SelectionEmptyError
        No shots are selected.
    OutputExistsError
        There is something already, and neither option allows to go on; or another job
        is writing this file.
    OutputError
        The disk is full, or fails. Finished blocks are kept.
    WorkersLostError
        Workers of the cluster died again and again.

    Notes
    -----
    Frames are read once, whatever number of functions and sums a detector has. Blocks
    are consecutive shots (``execution.block_trains``); sums are added up in their
    order: the data have the same bits on any scheduler, interrupted or not. On a
    cluster, all workers have to reach the directory `out`.

    Examples
    --------
    >>> import tempfile
    >>> from xfelred import open_run
    >>> from xfelred.synth.lcls import write_smalldata
    >>> place = tempfile.TemporaryDirectory()
    >>> source = f"{place.name}/xpptest01_Run0047.h5"
    >>> truth = write_smalldata(source, n_events=10, shape=(2, 6, 8), n_banks=2)
    >>> region = {"function": "roi", "name": "ROI_0", "bounds": [[0, 3], [0, 4]]}
    >>> detectors = {"jungfrau1M": {"functions": [region], "sums": ["calib"]}}
    >>> recipe = {"schema_version": 1, "kind": "smalldata", "variables": ["ipm2/sum"],
    ...           "detectors": detectors}
    >>> path = reduce_run(open_run(source), recipe, f"{place.name}/out")
    >>> small = open_run(path)
    >>> small.scalars(["jungfrau1M/ROI_0_sum", "ipm2/sum"]).sizes["train"]
    10
    >>> place.cleanup()
    """
    how = How(resume, overwrite, scheduler)
    return reduced(run, recipe, out, how, frames=frames, user=user).path


def reduced(
    run: Run,
    recipe: object,
    out: str | os.PathLike[str],
    how: How,
    *,
    frames: Mapping[str, xr.DataArray] | None = None,
    user: User | None = None,
    report: Report | None = None,
) -> ReduceResult:
    """Do what `reduce_run` does; ``report(blocks done, blocks)`` after every step."""
    plan = smalldata_plan(run, recipe, frames)
    whole = whole_columns(plan.shots, user)  # also to find what is wrong
    places = Places(Path(out).absolute(), plan.name)
    product = product_of(plan, places.out)
    wanted = Manifest(job_of(plan, frames, user), blocks_of(plan))
    with ExitStack() as stack:
        stack.enter_context(scheduled(how.scheduler))
        stack.enter_context(explained(places.work, resume=True))
        make_directory(places.out)
        stack.enter_context(only_writer(product))
        now = begin(
            places, wanted, [product], resume=how.resume, overwrite=how.overwrite
        )
        if now is None:
            n = len(read_manifest(places.finished).blocks)
            logger.info("%s is finished", places.name)
            return ReduceResult(product, n, 0, n)
        reused, n = now.n_done, len(now.blocks)
        now = computed_blocks(places, now, plan, report or (lambda _, __: None))
        unfinished = places.work / product.name
        write_file(plan, places, now, whole, unfinished)
        publish(unfinished, product, overwrite=True)
        done = {"computed": n - reused, "reused": reused, "products": [product.name]}
        replace(now, result=done).write(places.finished)
        remove(places.work)
    return ReduceResult(product, n, n - reused, reused)


def product_of(plan: SmallDataPlan, out: Path) -> Path:
    return out / f"{plan.name}.h5"


def blocks_of(plan: SmallDataPlan) -> tuple[Block, ...]:
    return blocks_of_ids(plan.shots.ids, plan.recipe.model.execution.block_trains)


def job_of(
    plan: SmallDataPlan,
    frames: Mapping[str, xr.DataArray] | None,
    user: User | None,
) -> Job:
    used = {n: d.frames for n, d in plan.detectors.items()}
    return Job(
        plan.recipe.sha256,
        plan.recipe.model.model_dump(mode="json"),
        all_sources(plan.run, {**used, **(frames or {})}),
        {"user": sorted(map(str, user or ()))},
    )


def computed_blocks(
    places: Places, now: Manifest, plan: SmallDataPlan, report: Report
) -> Manifest:
    """Compute what is missing; return the manifest with all blocks done."""
    report(now.n_done, len(now.blocks))
    starts = np.cumsum([0, *(b.n_trains for b in now.blocks)]).tolist()
    left = [b for b in now.blocks if not b.done]
    # This process computes one group after another: one that keeps its threads busy.
    size = 1 if client() else n_threads()

    def groups() -> Iterator[list[tuple[int, Any]]]:
        for i in range(0, len(left), size):
            yield [
                (
                    b.id,
                    block_task(plan, places.work, b, range(*starts[b.id : b.id + 2])),
                )
                for b in left[i : i + size]
            ]

    with results_of(groups(), n_at_once()) as found:
        for some in found:
            for number, _ in some:  # only what is safe on disk
                now = now.with_done(range(number, number + 1))
            now.write(places.unfinished)
            report(now.n_done, len(now.blocks))
    return now


def write_file(
    plan: SmallDataPlan,
    places: Places,
    now: Manifest,
    whole: Mapping[str, Array],
    path: Path,
) -> None:
    """Write the file of what the blocks have stored."""
    states = cube_state.saved(places.work)
    columns: list[Column] = []
    parts: list[int] = []
    sums: list[tuple[DetectorPlan, range]] = []
    at = 0
    for detector in plan.detectors.values():
        for c in detector.columns:
            columns.append(c)
            parts += range(at, at + len(c.parts))
            at += len(c.parts)
        sums.append((detector, range(at, at + len(detector.sums))))
        at += len(detector.sums)
    n_entries: dict[str, int] = {}
    i = 0
    for c in columns:
        if isinstance(c, Table):
            n_entries[c.path] = sum(int(load(s, [parts[i]])[0].sum()) for s in states)
        i += len(c.parts)
    finished: list[tuple[str, Any]] = [*whole.items()]
    for detector, which in sums:
        total: list[Array] = []
        for state in states if detector.sums else ():
            total = combined(detector.sums, total, load(state, which))
        finished += finished_sums(plan, detector, total)
        finished += configuration(plan, detector)
    write_small_data(
        path,
        columns,
        (load(s, parts) for s in states),
        n_rows=len(plan.shots.ids),
        n_entries=n_entries,
        whole=finished,
        attrs=attributes(plan),
    )


def attributes(plan: SmallDataPlan) -> dict[str, str]:
    return {
        "run_id": plan.run.run_id,
        "facility": plan.run.facility,
        "recipe": json.dumps(plan.recipe.to_dict(), sort_keys=True),
        VERSION: __version__,
    }
