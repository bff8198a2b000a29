"""`xfelred reduce`: small data of a run, by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import xfelred as xf
from xfelred.cli.cube import show_estimate
from xfelred.cli.progress import steps
from xfelred.cli.where import go_on, product_options, scheduler
from xfelred.cli.words import tell, tell_json
from xfelred.recipes.reduce_run import reduced
from xfelred.recipes.smalldata_estimate import estimate_reduction
from xfelred.recipes.smalldata_recipe import SmallDataRecipe
from xfelred.recipes.write_cube import How


@click.command()
@click.option(
    "--nevents", metavar="N", type=click.IntRange(1), help="Only the first N shots."
)
@product_options
def reduce(
    run: str,
    recipe: Path,
    output: Path,
    nevents: int | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make the small data that RECIPE describes from RUN.

    RUN is a run directory or a file, RECIPE a YAML or TOML file; see `xfelred config`.
    The files appear in DIR when they are complete, and their names on stdout: HDF5, or
    what the recipe says (output.formats: [h5, zarr, parquet]). A call that was
    interrupted continues with --resume; blocks of shots that were done are not read
    again.
    """
    how = How(**go_on(options))
    checked = SmallDataRecipe.from_file(recipe)
    opened = xf.open_run(run)
    if nevents is not None:
        opened = opened.select_trains(slice(0, nevents))
    if dry_run:
        show_estimate(estimate_reduction(opened, checked, output).to_dict(), as_json)
        return
    with (
        scheduler(options),
        steps(f"small data of {opened.run_id}", "blocks") as report,
    ):
        found = reduced(opened, checked, output, how, report=report)
    if as_json:
        tell_json(found.to_dict())
    else:
        for path in found.paths:
            tell(str(path))
