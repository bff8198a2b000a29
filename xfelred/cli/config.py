"""`xfelred config`: check recipes before they are used."""

from __future__ import annotations

from pathlib import Path

import click

import xfelred as xf
from xfelred.cli.words import tell, tell_json
from xfelred.errors import SelectionEmptyError
from xfelred.recipes.cube import cube_plan
from xfelred.recipes.cube_recipe import CubeRecipe

SCHEMAS = {"cube": CubeRecipe.json_schema}


@click.group()
def config() -> None:
    """Check a recipe, or show what it may say."""


@config.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--run", metavar="RUN", help="Also look for its names in this run.")
def check(recipe: Path, run: str | None) -> None:
    """Check RECIPE; with --run, also that the run has what it names.

    No frames are read. Exit code 2 and the place of the first mistake if it is wrong,
    3 if a filter passes no shot of the run.
    """
    checked = CubeRecipe.from_file(recipe)
    _ = checked.bins  # made, and so checked, when they are asked for
    lines = [f"{recipe}: a good {checked.model.kind} recipe"]
    empty: SelectionEmptyError | None = None
    if run is not None:
        opened = xf.open_run(run)
        names: list[str | None] = [*checked.model.filters]
        for name in names or [None]:
            try:
                plan = cube_plan(opened, checked, filter=name)
            except SelectionEmptyError as error:
                empty = empty or error
                continue
            for state, flow in plan.shots.flows.items():
                lines.append(
                    f"{opened.run_id}, filter {plan.shots.filter_name}, laser {state}:"
                    f" {flow.passed} of {flow.total} shots"
                )
    tell("\n".join(lines))
    if empty is not None:
        raise empty


@config.command()
@click.argument("kind", type=click.Choice(list(SCHEMAS)))
def schema(kind: str) -> None:
    """Print the JSON schema of recipes of a KIND."""
    tell_json(SCHEMAS[kind]())
