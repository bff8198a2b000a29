"""`xfelred config`: check recipes before they are used."""

from __future__ import annotations

from pathlib import Path

import click

import xfelred as xf
from xfelred.cli.words import tell, tell_json
from xfelred.errors import SelectionEmptyError
from xfelred.readers.protocol import Run
from xfelred.recipes.cube import cube_plan
from xfelred.recipes.cube_recipe import CubeRecipe
from xfelred.recipes.recipe import kind_in
from xfelred.recipes.smalldata_plan import smalldata_plan
from xfelred.recipes.smalldata_recipe import SmallDataRecipe

RECIPES: dict[str, type[CubeRecipe] | type[SmallDataRecipe]] = {
    r.kind: r for r in (CubeRecipe, SmallDataRecipe)
}


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
    checked = recipe_in(recipe)
    lines = [f"{recipe}: a good {checked.kind} recipe"]
    opened = None if run is None else xf.open_run(run)
    empty: SelectionEmptyError | None = None
    if isinstance(checked, SmallDataRecipe):
        if opened is not None:
            lines += about_small_data(opened, checked)
    else:
        _ = checked.bins  # made, and so checked, when they are asked for
        if opened is not None:
            more, empty = about_cube(opened, checked)
            lines += more
    tell("\n".join(lines))
    if empty is not None:
        raise empty


def recipe_in(path: Path) -> CubeRecipe | SmallDataRecipe:
    """Return the recipe in a file, of the kind that it says it is."""
    kind = kind_in(path)
    return RECIPES.get(kind, CubeRecipe).from_file(path)


def about_small_data(run: Run, recipe: SmallDataRecipe) -> list[str]:
    plan = smalldata_plan(run, recipe)
    n = len(plan.shots.ids)
    return [f"{run.run_id}: {n} shots"] + [
        f"{run.run_id}, {name}: {len(d.rows)} of {n} shots have frames"
        for name, d in plan.detectors.items()
    ]


def about_cube(
    run: Run, recipe: CubeRecipe
) -> tuple[list[str], SelectionEmptyError | None]:
    lines: list[str] = []
    empty: SelectionEmptyError | None = None
    names: list[str | None] = [*recipe.model.filters]
    for name in names or [None]:
        try:
            plan = cube_plan(run, recipe, filter=name)
        except SelectionEmptyError as error:
            empty = empty or error
            continue
        for state, flow in plan.shots.flows.items():
            lines.append(
                f"{run.run_id}, filter {plan.shots.filter_name}, laser {state}:"
                f" {flow.passed} of {flow.total} shots"
            )
    return lines, empty


@config.command()
@click.argument("kind", type=click.Choice(list(RECIPES)))
def schema(kind: str) -> None:
    """Print the JSON schema of recipes of a KIND."""
    tell_json(RECIPES[kind].json_schema())
