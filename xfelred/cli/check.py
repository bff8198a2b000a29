"""`xfelred check`: what is wrong with the files of a run."""

from __future__ import annotations

import click

from xfelred.checks import check as check_run
from xfelred.cli.info import which_run
from xfelred.cli.words import tell, tell_json

FAULTY, NOTHING = 1, 3  # exit codes


@click.command()
@click.argument("source", metavar="RUN")
@which_run
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--pixels", type=click.Choice(["sample", "all"]),
    help="Also read values: some of every dataset, or all.",
)  # fmt: skip
@click.pass_context
def check(
    context: click.Context,
    source: str,
    number: str | None,
    as_json: bool,
    pixels: str | None,
) -> None:
    """Say what is wrong with the files of RUN.

    RUN is a run directory or a file of any facility, or with --run a proposal number.
    Headers and indexes are read, which takes minutes for a terabyte. Exit code 0: no
    fault; 1: faults; 3: there is nothing to check.
    """
    try:
        report = check_run(source, number, pixels=pixels)  # type: ignore[arg-type]
    except FileNotFoundError as error:  # what else goes wrong in opening is a finding
        tell(f"{type(error).__name__}: {error}", err=True)
        context.exit(NOTHING)
    if as_json:
        tell_json(report.to_dict())
    else:
        tell("\n".join(report.lines()))
    context.exit(0 if report.ok else FAULTY)
