"""A cluster whose workers are jobs of SLURM."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import distributed
from dask.utils import parse_bytes

from xfelred.cluster.certificates import (
    from_certificate,
    new_certificate,
    with_worker_files,
)
from xfelred.cluster.client import client_of
from xfelred.cluster.settings import (
    CACHE_VARIABLE,
    LOOPBACK,
    numba_finds_a_place,
    started_with,
)
from xfelred.cluster.shell import (
    directive,
    interface_name,
    quoted,
    unquoted,
    with_variables,
)
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClusterError,
    require_extra,
)

CERTIFICATES = "~/.cache/xfelred"
# Reading and kernels run well in threads; Python between them does so up to here.
THREADS_PER_WORKER = 4
# A worker ends before its job does, to hand over what it holds.
MARGIN_SECONDS = (60, 600)
WALLTIME = r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?"
VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
DAY, HOUR, MINUTE = 86400, 3600, 60


def slurm(
    jobs: int | None = None,
    *,
    cores: int,
    memory: str | int,
    walltime: str,
    queue: str | None = None,
    account: str | None = None,
    workers_per_job: int | None = None,
    minimum: int = 0,
    maximum: int | None = None,
    interface: str | None = None,
    scratch: str | None = None,
    log_directory: str | os.PathLike[str] | None = None,
    prologue: Sequence[str] = (),
    directives: Sequence[str] = (),
    python: str | None = None,
    job_name: str = "xfelred",
    security: bool | distributed.Security = True,
    certificates: str | os.PathLike[str] = CERTIFICATES,
    dashboard_port: int = 0,
    config: Mapping[str, Any] | None = None,
) -> distributed.Client:
    """Start a scheduler here, and workers as jobs of SLURM.

    Parameters
    ----------
    jobs : int, optional
        Keep this number of jobs running: a new one follows each that ends.
    cores : int
        Of one job.
    memory : str or int
        Of one job: text such as ``"64GB"``, or bytes.
    walltime : str
        Of one job as SLURM writes it: ``"minutes"``, ``"hours:minutes:seconds"``,
        ``"days-hours"``, ... The workers stop earlier and one after the other, and
        hand over their results.
    queue, account : str, optional
        Partition, and who pays.
    workers_per_job : int, optional
        Processes that share the cores and the memory of a job. Default: each has 4
        threads, or a little more if that does not divide `cores`.
    minimum, maximum : int
        Instead of `jobs`: as many jobs as there is work for, within these limits.
        Without `jobs` and `maximum` nothing is submitted before
        ``client.cluster.scale(jobs=...)``.
    interface : str, optional
        Network of scheduler and workers, e.g. ``"ib0"``.
    scratch : str, optional
        Directory on the nodes for what does not fit in memory; may hold variables,
        e.g. ``"$TMPDIR"``.
    log_directory : path, optional
        Where the jobs write what they print.
    prologue : sequence of str
        Lines of shell before the worker starts, e.g. ``"module load ..."``.
    directives : sequence of str
        More options of ``#SBATCH``, e.g. ``"--constraint=EPYC"``.
    python : str, optional
        Interpreter on the nodes. Default: this one.
    job_name : str
        As ``squeue`` shows it.
    security : bool or distributed.Security
        True: connections are encrypted with a new certificate. False: whoever can
        reach the scheduler's port can run programs as you.
    certificates : path
        Directory that the nodes share, for a file of mode 600 with the certificate
        and its key; removed at close.
    dashboard_port : int
        Of the dashboard, on 127.0.0.1 of this machine only; see `dashboard_link`.
    config : mapping, optional
        Dask configuration of this cluster alone; workers get it as variables of
        their environment.

    Returns
    -------
    distributed.Client
        Use it in a ``with`` statement or call its `close`: both end the jobs. Its
        attribute `cluster` has ``job_script()``, ``scale`` and ``adapt``.

    Raises
    ------
    MissingExtraError
        dask-jobqueue is not installed.
    ClusterError
        Jobs are to be submitted, and there is no SLURM on this machine.

    Notes
    -----
    Memory limits, threads of BLAS and the like: see `local`.
    """
    if find_spec("dask_jobqueue") is None:
        raise require_extra("dask-jobqueue", "cluster")
    from dask_jobqueue.slurm import SLURMCluster

    check_limits(jobs, minimum, maximum)
    workers = workers_per_job or default_workers(cores)
    if cores < 1 or cores % workers:
        raise ArgumentError(
            f"workers_per_job={workers} does not divide cores={cores}; the rest of"
            " the cores would idle"
        )
    shared = Path(certificates).expanduser()
    arguments = worker_arguments(walltime)
    with ExitStack() as undo:
        secured = job_security(security, shared, undo)
        with started_with(config or {}):
            cluster = SLURMCluster(
                cores=cores,
                memory=memory_of_job(memory),
                processes=workers,
                walltime=walltime,
                queue=quoted("queue", queue),
                account=quoted("account", account),
                interface=interface_name(interface),
                local_directory=with_variables("scratch", scratch),
                log_directory=unquoted("log_directory", log_directory),
                job_script_prologue=[*prologue, *exports(scratch, config or {})],
                job_extra_directives=[directive(d) for d in directives],
                python=quoted("python", python),
                job_name=quoted("job_name", job_name),
                security=secured,
                shared_temp_directory=os.fspath(shared),
                worker_extra_args=arguments,
                scheduler_options={"dashboard_address": f"{LOOPBACK}:{dashboard_port}"},
            )
        client = client_of(cluster, undo.pop_all())
    if jobs is not None:
        minimum = maximum = jobs
    if maximum is not None:
        cluster.adapt(minimum_jobs=minimum, maximum_jobs=maximum)
    return client


def check_limits(jobs: int | None, minimum: int, maximum: int | None) -> None:
    """Raise for numbers of jobs that make no sense, or that nobody could run."""
    if jobs is not None and (minimum or maximum is not None):
        raise ArgumentError(
            f"jobs={jobs} keeps that many running; minimum and maximum adapt their"
            " number to the work: give one or the other"
        )
    if maximum is None and minimum:
        raise ArgumentError(f"minimum={minimum} needs a maximum, too")
    if maximum is not None and not 0 <= minimum <= maximum:
        raise ArgumentError(f"minimum={minimum} must be 0 to maximum={maximum}")
    if (jobs or maximum) and shutil.which("sbatch") is None:
        raise ClusterError(
            "there is no command sbatch on this machine, so no job can be submitted;"
            " start Python where SLURM is, or leave out `jobs` and `maximum` to see"
            " client.cluster.job_script()"
        )


def default_workers(cores: int) -> int:
    if cores < 1:
        raise ArgumentError(f"cores={cores} must be at least 1")
    wanted = min(cores, THREADS_PER_WORKER)
    return cores // next(n for n in range(wanted, cores + 1) if cores % n == 0)


def job_security(
    security: bool | distributed.Security, shared: Path, at_close: ExitStack
) -> distributed.Security | None:
    """Return certificates that jobs can read, in files that end with the cluster."""
    if security is False:
        return None
    shared = shared.absolute()
    unquoted("certificates", shared)  # jobs get the path in a line of shell
    if isinstance(security, distributed.Security):
        secured, files = with_worker_files(security, shared)
    elif security is True:
        files = [new_certificate(shared)]
        secured = from_certificate(files[0])
    else:
        raise ArgumentTypeError(
            "security must be True (a new certificate), False (none), or a"
            f" distributed.Security; got {type(security).__name__}"
        )
    for file in files:
        at_close.callback(file.unlink, missing_ok=True)
    return secured


def worker_arguments(walltime: str) -> list[str]:
    """Return options of ``dask worker``: when to stop, and no open dashboard."""
    seconds = wall_seconds(walltime)
    margin = min(max(seconds // 10, MARGIN_SECONDS[0]), MARGIN_SECONDS[1])
    if seconds < 4 * margin:
        raise ArgumentError(
            f"walltime={walltime!r} is {seconds} s; workers hand over their results"
            f" before a job ends, for which it needs {4 * MARGIN_SECONDS[0]} s or more"
        )
    # The stagger goes both ways: the last worker stops one margin before the end.
    lifetime = ["--lifetime", f"{seconds - 2 * margin}s"]
    stagger = ["--lifetime-stagger", f"{margin}s"]
    dashboard = ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0"]
    return [*lifetime, *stagger, *dashboard]


def wall_seconds(walltime: str) -> int:
    """Return the seconds of a time as SLURM writes it.

    Examples
    --------
    >>> wall_seconds("90"), wall_seconds("1:30:00"), wall_seconds("2-12")
    (5400, 5400, 216000)
    """
    found = re.fullmatch(WALLTIME, str(walltime), re.ASCII)
    if found is None:
        raise ArgumentError(
            f"walltime={walltime!r} is not a time of SLURM: write minutes,"
            " 'minutes:seconds', 'hours:minutes:seconds', 'days-hours' or"
            " 'days-hours:minutes:seconds'"
        )
    days, *parts = (int(p) if p else None for p in found.groups())
    first, second, third = parts
    if days is None and third is None:
        return int(first or 0) * MINUTE + (second or 0)
    hours = (days or 0) * DAY + (first or 0) * HOUR
    return hours + (second or 0) * MINUTE + (third or 0)


def exports(scratch: str | None, config: Mapping[str, Any]) -> list[str]:
    """Return lines of shell that give workers their settings."""
    lines = cache_lines(scratch)
    for key, value in config.items():
        # How dask reads its configuration from the environment.
        name = "DASK_" + key.replace("-", "_").replace(".", "__").upper()
        if not VARIABLE_NAME.fullmatch(name):
            raise ArgumentError(
                f"config has {key!r}, which is no key of dask's configuration, such as"
                " 'distributed.worker.memory.spill'"
            )
        lines.append(f"export {name}={shlex.quote(repr(value))}")
    return lines


def cache_lines(scratch: str | None) -> list[str]:
    """Return lines that find a place for compiled kernels on a node, if one is needed.

    Nobody else may be able to write there: what numba finds in it is run.
    """
    if given := os.environ.get(CACHE_VARIABLE):
        return [f"export {CACHE_VARIABLE}={shlex.quote(given)}"]
    if numba_finds_a_place():
        return []
    above = with_variables("scratch", scratch) or '"${TMPDIR:-/tmp}"'
    return [
        f'cache={above}"/xfelred-numba-$(id -u)"',
        'mkdir -m 700 "$cache" 2>/dev/null',
        'if [ -L "$cache" ] || [ ! -d "$cache" ] || [ ! -O "$cache" ]'
        ' || [ -n "$(find "$cache" -maxdepth 0 -perm /022)" ];'
        " then cache=$(mktemp -d); fi",
        f'export {CACHE_VARIABLE}="$cache"',
    ]


def memory_of_job(memory: str | int) -> str:
    try:
        return str(parse_bytes(memory))
    except (ValueError, TypeError):
        raise ArgumentError(
            f"memory={memory!r} is no size; write it as '64GB', or as a number of bytes"
        ) from None
