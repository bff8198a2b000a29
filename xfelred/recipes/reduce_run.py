"""Small data of a run: made block by block, resumed, in one file at the end."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product as every_pair
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xfelred import __version__
from xfelred.entries import entry
from xfelred.errors import ArgumentError, listing, warn
from xfelred.lazy.in_flight import results_of
from xfelred.lazy.scheduler import client, n_threads, this_machine
from xfelred.names import VERSION
from xfelred.products.atomic import publish
from xfelred.products.parquet import require_pyarrow
from xfelred.products.smalldata_dataset import once_in, smalldata_dataset
from xfelred.products.smalldata_file import Column, Rows, Size, Table, write_small_data
from xfelred.products.write import write
from xfelred.readers.protocol import Run
from xfelred.recipes import cube_state
from xfelred.recipes.cube_places import Places
from xfelred.recipes.function_values import sources_of
from xfelred.recipes.manifest import Block, Job, Manifest, blocks_of_ids
from xfelred.recipes.smalldata_blocks import (
    Array,
    block_task,
    check_parts,
    combined,
    load,
    slots_of,
)
from xfelred.recipes.smalldata_config import configuration, finished_sums
from xfelred.recipes.smalldata_intg import check_integrating, integrated
from xfelred.recipes.smalldata_plan import SmallDataPlan, smalldata_plan
from xfelred.recipes.smalldata_shots import User, whole_columns
from xfelred.recipes.sources import all_sources, run_paths
from xfelred.recipes.write_cube import (
    CubeResult,
    How,
    Report,
    begun,
    finish,
    finished_result,
    n_at_once,
)

PARQUET = ".parquet"
COUNTS_OF_ENTRIES = ("_nDroplets", "_nPhotons")


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
        is -99999 in integers, NaN in floats, and no entries in tables. The first of
        ``output.formats`` (h5, zarr, parquet) if the recipe has any; zarr holds the
        same names with ``__`` in place of ``/``, parquet what has a row for each shot.

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
    return reduced(run, recipe, out, how, frames=frames, user=user).paths[0]


def reduced(
    run: Run,
    recipe: object,
    out: str | os.PathLike[str],
    how: How,
    *,
    frames: Mapping[str, xr.DataArray] | None = None,
    user: User | None = None,
    report: Report | None = None,
) -> CubeResult:
    """Do what `reduce_run` does; ``report(blocks done, blocks)`` after every step."""
    plan = smalldata_plan(run, recipe, frames)
    places = Places(Path(out).absolute(), plan.name)
    products = products_of(plan, places.out)
    if any(p.suffix == PARQUET for p in products):
        require_pyarrow()
    whole = whole_columns(plan.shots, user)  # also to find what is wrong
    check_integrating(plan)
    check_names(plan, whole)
    check_place(plan, products)
    wanted = Manifest(job_of(plan, frames, user), blocks_of(plan))
    with begun(places, wanted, products, products[0], how) as now:
        if now is None:
            return finished_result(places, products, [])
        done = computed_blocks(places, now, plan, report or (lambda _, __: None))
        write_file(plan, places.work, whole, places.work / f"{plan.name}.h5")
        write_others(plan, places.work)
        for product in products:
            publish(places.work / product.name, product, overwrite=True)
        return finish(places, done, now.n_done, products, [])


def check_names(plan: SmallDataPlan, whole: Mapping[str, Array]) -> None:
    """Raise ConfigError for a dataset that would be there twice, or be a group, too."""
    names = {c.path for c in plan.columns}
    twice = names & whole.keys()
    every = names | whole.keys()
    for name in every:
        while name := name.rpartition("/")[0]:
            twice |= {name} & every
    if twice:
        raise plan.recipe.error(
            "",
            f"{listing(sorted(twice))} would be in the file twice, as a variable or"
            " group of the run and as a result; rename the function",
        )


def check_place(plan: SmallDataPlan, products: list[Path]) -> None:
    """Raise ArgumentError if the file would replace one that it is made from."""
    for path, product in every_pair(run_paths(plan.run), products):
        if product.exists() and os.path.exists(path) and product.samefile(path):
            raise ArgumentError(
                f"{product} is a file of the run itself; choose another directory"
            )


def products_of(plan: SmallDataPlan, out: Path) -> list[Path]:
    formats = dict.fromkeys(plan.recipe.model.output.formats)
    return [out / f"{plan.name}.{kind}" for kind in formats]


def write_others(plan: SmallDataPlan, work: Path) -> None:
    """Write the other formats from the HDF5 file in the directory `work`."""
    file = work / f"{plan.name}.h5"
    for product in products_of(plan, work):
        if product == file:
            continue
        ds = smalldata_dataset(file)
        if product.suffix == PARQUET:
            left = list(once_in(ds))
            if left and len(plan.recipe.model.output.formats) == 1:
                warn(
                    f"{product.name} has a row for each shot; {listing(left)} are not"
                    " of shots and left out. Add h5 or zarr to output.formats"
                )
            ds = ds.drop_vars(left)
        with this_machine():
            write(ds, product, overwrite=True)


def blocks_of(plan: SmallDataPlan) -> tuple[Block, ...]:
    return blocks_of_ids(plan.shots.ids, plan.recipe.model.execution.block_trains)


def job_of(
    plan: SmallDataPlan,
    frames: Mapping[str, xr.DataArray] | None,
    user: User | None,
) -> Job:
    used = {n: d.frames for n, d in plan.detectors.items()}
    files = sources_of(d.facts for d in plan.detectors.values())
    return Job(
        plan.recipe.sha256,
        plan.recipe.model.model_dump(mode="json"),
        all_sources(plan.run, {**used, **(frames or {})}, files),
        {"user": sorted(map(str, user or ()))},
    )


def computed_blocks(
    places: Places, now: Manifest, plan: SmallDataPlan, report: Report
) -> Manifest:
    """Compute what is missing; return the manifest with all blocks done."""
    report(now.n_done, len(now.blocks))
    left = [b for b in now.blocks if not b.done]
    # This process computes one group after another: one that keeps its threads busy.
    size = 1 if client() else n_threads()

    def groups() -> Iterator[list[tuple[int, Any]]]:
        for i in range(0, len(left), size):
            yield [(b.id, block_task(plan, places.work, b)) for b in left[i : i + size]]

    with results_of(groups(), n_at_once()) as found:
        for some in found:
            for number, _ in some:  # only what is safe on disk
                now = now.with_done(range(number, number + 1))
            now.write(places.unfinished)
            report(now.n_done, len(now.blocks))
    return now


def write_file(
    plan: SmallDataPlan, work: Path, whole: Mapping[str, Array], path: Path
) -> None:
    """Write the file of what the blocks have stored in the directory `work`."""
    states = cube_state.saved(work)
    slots = slots_of(plan)
    for state in states:
        check_parts(state, slots)
    columns: list[Column] = []
    parts: list[int] = []
    sizes: list[Size] = []
    once: list[tuple[str, Any]] = [*whole.items()]
    results: dict[str, int] = {}  # parts that are values of every shot
    for slot in slots:
        if slot.column is None:
            sums: list[Array] = []
            for state in states if slot.parts else ():
                sums = combined(slot.detector.sums, sums, load(state, slot.parts))
            once += finished_sums(plan, slot.detector, sums)
            once += configuration(plan, slot.detector)
            continue
        columns.append(slot.column)
        parts += slot.parts
        size = Size(len(slot.detector.ids))
        if isinstance(slot.column, Table):
            n = sum(int(load(s, slot.parts[:1])[0].sum()) for s in states)
            size = Size(size.rows, n)
        elif len(slot.detector.ids) == len(plan.shots.ids):
            results[slot.column.path] = slot.parts[0]
        sizes.append(size)

    def values(name: str, key: str) -> Array:
        if name not in results:
            return plan.shots.value(name, key)
        return np.concatenate([load(s, [results[name]])[0] for s in states])

    warn_of_full_tables(dict(zip(columns, sizes, strict=True)), values)
    once += integrated(plan, values).items()
    write_small_data(
        path,
        columns,
        (load(s, parts) for s in states),
        sizes,
        once=once,
        attrs=attributes(plan),
    )


def warn_of_full_tables(
    sizes: Mapping[Column, Size], values: Callable[[str, str], Array]
) -> None:
    """Warn of droplets and photons that were found, and had no room in a table."""
    found = {
        c.path.removesuffix(end): c.path
        for c in sizes
        for end in COUNTS_OF_ENTRIES
        if isinstance(c, Rows) and c.path.endswith(end)
    }
    for table, size in sizes.items():
        if not isinstance(table, Table):
            continue
        name = re.sub("/(var|ragged)_", "/", table.path)
        above = [stem for stem in found if name.startswith(f"{stem}_")]
        if not above:
            continue
        n = int(np.maximum(values(found[max(above, key=len)], ""), 0).sum())
        if n > size.entries:
            warn(
                f"{table.path} has {size.entries} entries, but {n} were found: the"
                " others had no room and are only counted. Raise max_droplets or"
                " max_photons"
            )


def attributes(plan: SmallDataPlan) -> dict[str, str]:
    return {
        "run_id": plan.run.run_id,
        "facility": plan.run.facility,
        "recipe": json.dumps(plan.recipe.to_dict(), sort_keys=True),
        VERSION: __version__,
    }
