"""`xfelred report`: a page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import xfelred as xf
from xfelred.cli.info import opened_run, which_run
from xfelred.cli.progress import progress
from xfelred.cli.where import scheduler, where_options
from xfelred.cli.words import tell, tell_json
from xfelred.products.run_report import TRAINS


@click.command()
@click.argument("source", metavar="RUN")
@which_run
@click.option(
    "-o", "--output", required=True, metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path), help="The page: run34.html.",
)  # fmt: skip
@click.option(
    "--trains", default=str(TRAINS), show_default=True, metavar="N|all",
    help="Read pixels of so many trains, spread evenly over the run.",
)  # fmt: skip
@click.option(
    "--geometry", multiple=True, metavar="DETECTOR=FILE",
    help="Assemble the images of a detector, by a geometry file of CrystFEL.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an old page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@where_options
def report(
    source: str,
    number: str | None,
    output: Path,
    trains: str,
    geometry: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a page about RUN: files, images of the detectors, values of each train.

    RUN is a run directory or a file of any facility, or with --run a proposal number.
    What is wrong with files or detectors stands on the page, and is no failure.
    """
    many = None if trains == "all" else whole_number(trains)
    shapes = dict(map(geometry_of, geometry))
    if output.exists() and not overwrite:
        raise xf.OutputExistsError(f"{output} exists; --overwrite replaces it")
    run = opened_run(source, number)
    with scheduler(options), progress(f"report of {run.run_id}"):
        page = xf.report(run, trains=many, geometry=shapes)
    page.write(output, overwrite=overwrite)
    if as_json:
        tell_json({"path": str(output), "check": page.check.to_dict()})
    else:
        tell(str(output))


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is neither a number nor 'all'", param_hint="'--trains'"
        ) from error


def geometry_of(text: str) -> tuple[str, xf.geometry.Geometry]:
    name, equals, path = text.partition("=")
    if not equals:
        raise click.BadParameter(
            f"{text!r}; give DETECTOR=FILE", param_hint="'--geometry'"
        )
    return name, xf.geometry.Geometry.from_crystfel(path)
