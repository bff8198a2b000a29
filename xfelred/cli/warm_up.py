"""`xfelred warm-up`: compile before anybody waits for it."""

from __future__ import annotations

import time

import click

from xfelred.cli.words import tell
from xfelred.cluster.warm_up import TASKS
from xfelred.cluster.warm_up import warm_up as in_processes


@click.command("warm-up")
@click.option(
    "--only", multiple=True, type=click.Choice(list(TASKS)), metavar="TASK",
    help=f"One of {', '.join(TASKS)}; may be given again. Default: all.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(1), metavar="N",
    help="How many compile at a time; by default as many as there are cores.",
)  # fmt: skip
def warm_up(only: tuple[str, ...], processes: int | None) -> None:
    """Compile what usual tasks need, so that nobody waits for it later.

    Once after each installation or update: what is compiled stays in a cache of yours.
    """
    start, compiled = time.perf_counter(), 0
    for done in in_processes(only, processes=processes):
        tell(f"{done.name:<14}{done.seconds:6.1f} s  {done.compiled:3d} compiled")
        compiled += done.compiled
    tell(f"{compiled} kernels compiled in {time.perf_counter() - start:.1f} s")
