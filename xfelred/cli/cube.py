"""`xfelred cube`: frames and values of a run, binned by a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from dask.utils import format_bytes

import xfelred as xf
from xfelred.cli.progress import steps
from xfelred.cli.where import go_on, product_options, scheduler
from xfelred.cli.where import slurm as slurm  # where it was
from xfelred.cli.words import tell, tell_json
from xfelred.errors import SelectionEmptyError
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_estimate import CubeEstimate, estimate_cube
from xfelred.recipes.cube_recipe import CubeRecipe
from xfelred.recipes.write_cube import CubeResult, write_cube

ALL = "all"
COUNTS = ("blocks", "tasks")


@click.command()
@click.option(
    "--filter", "chosen", metavar="NAME|all",
    help="Which of the recipe's filters, or a cube for each; by default the first.",
)  # fmt: skip
@product_options
def cube(
    run: str,
    recipe: Path,
    output: Path,
    chosen: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make the cube that RECIPE describes from RUN.

    RUN is a run directory or a file, RECIPE a YAML or TOML file; see `xfelred config`.
    Products appear in DIR when they are complete, and their names on stdout. A call
    that was interrupted continues with --resume; blocks of shots that were done are not
    read again.
    """
    how = go_on(options)
    checked = CubeRecipe.from_file(recipe)
    names = filters_of(checked, chosen)
    opened = xf.open_run(run)
    made = OfFilters(names)
    if dry_run:
        made.each(lambda n: estimate_cube(opened, checked, output, filter=n))
        if made.results:
            show_estimate(total_estimate(made.results), as_json)
    else:
        try:
            with scheduler(options):
                made.each(lambda n: one_cube(opened, checked, output, n, how))
        finally:  # what is complete is told although another cube failed
            if made.results or made.empty:
                show_results(made, as_json)
    made.raise_empty()


@dataclass
class OfFilters:
    """What was made for each filter; None is the first one of the recipe."""

    names: list[str | None]
    results: list[Any] = field(default_factory=list)  # of those that pass something
    empty: dict[str | None, SelectionEmptyError] = field(default_factory=dict)

    def each(self, make: Callable[[str | None], Any]) -> None:
        """Make something for every filter; filters that pass nothing stop none."""
        for name in self.names:
            try:
                self.results.append(make(name))
            except SelectionEmptyError as error:
                self.empty[name] = error

    def raise_empty(self) -> None:
        if len(self.names) > 1 and self.empty:
            texts = [f"filter {name}: {error}" for name, error in self.empty.items()]
            raise SelectionEmptyError("\n".join(texts))
        for error in self.empty.values():
            raise error


def filters_of(recipe: CubeRecipe, chosen: str | None) -> list[str | None]:
    if chosen == ALL and recipe.model.filters:
        return list(recipe.model.filters)
    if chosen is None or chosen == ALL:
        return [None]
    return [recipe.filter_name(chosen)]


def one_cube(
    run: Run,
    recipe: CubeRecipe,
    output: Path,
    filter: str | None,
    how: dict[str, Any],
) -> CubeResult:
    what = f"cube of {run.run_id}" + (f", filter {filter}" if filter else "")
    with steps(what, "blocks") as report:
        return write_cube(run, recipe, output, filter=filter, report=report, **how)


def total_estimate(plans: list[CubeEstimate]) -> dict[str, Any]:
    each = [p.to_dict() for p in plans]
    out: dict[str, Any] = {
        key: sum(e[key] for e in each)
        for key in ("blocks", "tasks", "bytes_read", "bytes_output")
    }
    for key in ("memory_estimate", "client_memory"):
        out[key] = max(e[key] for e in each)
    out["paths"] = [p for e in each for p in e["paths"]]
    return out


def show_estimate(content: dict[str, Any], as_json: bool) -> None:
    if as_json:
        tell_json(content)
        return
    for key, value in content.items():
        if key == "paths":
            tell("\n".join(f"{key:<17}{path}" for path in value))
        else:
            text = value if key in COUNTS else f"{value} ({format_bytes(value)})"
            tell(f"{key:<17}{text}")


def show_results(made: OfFilters, as_json: bool) -> None:
    each = [r.to_dict() for r in made.results]
    paths = [p for e in each for p in e["paths"]]
    if not as_json:
        for path in paths:
            tell(path)
        return
    nothing = [f for error in made.empty.values() for f in error.cut_flows]
    content: dict[str, Any] = {
        "paths": paths,
        **{k: sum(e[k] for e in each) for k in ("blocks", "computed", "reused")},
        "cut_flow": [f for e in each for f in e["cut_flow"]] + nothing,
    }
    if len(made.names) > 1:
        content["filters"] = made.names
    tell_json(content)
