"""`xfelred reduce`: small data of a run, by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import xfelred as xf
from xfelred.cli.cube import show_estimate
from xfelred.cli.progress import steps
from xfelred.cli.where import scheduler, where_options
from xfelred.cli.words import tell, tell_json
from xfelred.recipes.reduce_run import How, reduced
from xfelred.recipes.smalldata_estimate import estimate_reduction
from xfelred.recipes.smalldata_recipe import SmallDataRecipe


@click.command()
@click.argument("run")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", required=True, metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the file; it is made if it is not there.",
)  # fmt: skip
@click.option(
    "--nevents", metavar="N", type=click.IntRange(1), help="Only the first N shots."
)
@click.option("--resume", is_flag=True, help="Continue an interrupted call.")
@click.option("--overwrite", is_flag=True, help="Start anew, and replace an old file.")
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be read, written and needed."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@where_options
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
    if options["resume"] and options["overwrite"]:
        raise click.UsageError(
            "--resume continues what is there and --overwrite starts anew; give one"
        )
    checked = SmallDataRecipe.from_file(recipe)
    opened = xf.open_run(run)
    if nevents is not None:
        opened = opened.select_trains(slice(0, nevents))
    if dry_run:
        show_estimate(estimate_reduction(opened, checked, output).to_dict(), as_json)
        return
    how = How(options["resume"], options["overwrite"])
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
