"""Where a command computes: threads or processes here, jobs of SLURM, a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import dask

import xfelred as xf
from xfelred.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client

THREADS, LOCAL, SLURM = "threads", "local", "slurm"  # or an address

Command = Callable[..., object]
Option = Callable[[Command], Command]

# Of xf.cluster.slurm, under the names that it gives them.
JOB_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--profile", metavar="NAME",
        help="Section of dask's configuration; see `xfelred cluster profiles`.",
    ),
    click.option("--cores", type=click.IntRange(1), metavar="N", help="Of one job."),
    click.option("--memory", metavar="SIZE", help="Of one job: 64GB."),
    click.option(
        "--walltime", metavar="TIME", help="Of one job, as SLURM writes it: 2:00:00."
    ),
    click.option("--queue", metavar="NAME", help="Partition."),
    click.option("--account", metavar="NAME", help="Who pays."),
    click.option(
        "--reservation", metavar="NAME", help="Nodes reserved, as for a beamtime."
    ),
    click.option(
        "--constraint", metavar="FEATURES", help="What nodes must have: EPYC."
    ),
    click.option("--interface", metavar="NAME", help="Network, such as ib0."),
    click.option("--scratch", metavar="DIRECTORY", help="On the nodes: '$TMPDIR'."),
    click.option(
        "--workers-per-job", type=click.IntRange(1), metavar="N",
        help="Processes. Default: one for each 4 cores.",
    ),
    click.option(
        "--prologue", multiple=True, metavar="LINE",
        help="Line of shell before the worker starts; can be given again.",
    ),
    click.option(
        "--directive", "directives", multiple=True, metavar="OPTION",
        help="Another option of #SBATCH; can be given again.",
    ),
)  # fmt: skip
JOB_NAMES = (
    "profile", "cores", "memory", "walltime", "queue", "account", "reservation",
    "constraint", "interface", "scratch", "workers_per_job", "prologue", "directives",
)  # fmt: skip
WHERE_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--cluster", metavar="threads|local|slurm|ADDRESS",
        help="Where to compute: threads or processes here, jobs of SLURM, or a running"
        " cluster. By default threads; with --workers, processes.",
    ),
    click.option(
        "--workers", metavar="N", type=click.IntRange(1),
        help="Number of processes, or of threads with --cluster threads.",
    ),
    click.option(
        "--jobs", metavar="N", type=click.IntRange(1),
        help="Number of jobs with --cluster slurm, 1 by default. What follows is about"
        " them; by default as dask's configuration says.",
    ),
)  # fmt: skip
PRODUCT_OPTIONS: tuple[Option, ...] = (
    click.argument("run"),
    click.argument(
        "recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path)
    ),
    click.option(
        "-o", "--output", required=True, metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory for the products; it is made if it is not there.",
    ),
    click.option("--resume", is_flag=True, help="Continue an interrupted call."),
    click.option(
        "--overwrite", is_flag=True, help="Start anew, and replace old products."
    ),
    click.option(
        "--dry-run", is_flag=True,
        help="Only say what would be read, written and needed.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)  # fmt: skip


def with_options(options: tuple[Option, ...]) -> Option:
    """Return a decorator that gives a command some options."""
    return lambda command: reduce(lambda c, option: option(c), options[::-1], command)


job_options = with_options(JOB_OPTIONS)
where_options = with_options(WHERE_OPTIONS + JOB_OPTIONS)  # see `scheduler`
product_options = with_options(PRODUCT_OPTIONS + WHERE_OPTIONS + JOB_OPTIONS)


def go_on(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `product_options` say about what is there already."""
    if options["resume"] and options["overwrite"]:
        raise click.UsageError(
            "--resume continues what is there and --overwrite starts anew; give one"
        )
    return {name: options[name] for name in ("resume", "overwrite")}


def of_jobs(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said about jobs of SLURM."""
    return {n: options[n] for n in JOB_NAMES if options.get(n) not in (None, ())}


def quiet_dask() -> None:
    """Let dask, whose scheduler is in this process, tell no more than we do."""
    _ = xf.cluster.local  # it sets its own levels when it is loaded
    logging.getLogger("distributed").setLevel(logging.getLogger().level)


@contextmanager
def scheduler(options: Mapping[str, Any]) -> Iterator[None]:
    """Compute inside the block where the user wants to."""
    workers, n_jobs, jobs = options["workers"], options["jobs"], of_jobs(options)
    where = options["cluster"] or (LOCAL if workers else THREADS)
    if where != SLURM and (jobs or n_jobs):
        name = "jobs" if n_jobs else next(iter(jobs))
        raise click.UsageError(
            f"--{name.replace('_', '-')} is about jobs: give --cluster {SLURM}, too"
        )
    if where == THREADS:
        with dask.config.set({"num_workers": workers} if workers else {}):
            yield
        return
    quiet_dask()
    if where == LOCAL:
        client = xf.cluster.local(workers)
    elif where == SLURM:
        client = slurm(n_jobs or workers or 1, **jobs)
    elif workers:
        raise click.UsageError(
            f"--workers starts processes, and {where} has its own; give one of them"
        )
    else:
        client = connected(where)
    with client:
        yield


def connected(where: str) -> Client:
    """Return a client of a running cluster; UsageError for what is no address."""
    try:
        return xf.cluster.connect(where)
    except ConfigError as error:
        raise click.UsageError(
            f"--cluster is {THREADS}, {LOCAL}, {SLURM} or an address: {error}"
        ) from error


def slurm(jobs: int, **options: Any) -> Client:
    """Return a client of jobs of SLURM, as options and dask's configuration say."""
    try:
        return xf.cluster.slurm(jobs=jobs, **options)
    except ValueError as error:  # all of them are about what was given
        raise click.UsageError(f"--cluster {SLURM}: {error}") from error
