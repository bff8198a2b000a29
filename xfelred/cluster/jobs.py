"""A cluster whose workers are jobs of SLURM."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import distributed

from xfelred.cluster.certificates import (
    from_certificate,
    new_certificate,
    with_worker_files,
)
from xfelred.cluster.client import client_of
from xfelred.cluster.job_script import (
    exports,
    name_of_jobs,
    node_directives,
    scheduler_options,
    size_of_job,
    worker_arguments,
)
from xfelred.cluster.settings import started_with
from xfelred.cluster.shell import (
    directive,
    interface_name,
    quoted,
    unquoted,
    with_variables,
)
from xfelred.cluster.site import PASSED_ON, settings_of, texts
from xfelred.cluster.versions import watch_versions
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClusterError,
    require_extra,
)

CERTIFICATES = "~/.cache/xfelred"


def slurm(
    jobs: int | None = None,
    *,
    profile: str | None = None,
    cores: int | None = None,
    memory: str | int | None = None,
    walltime: str | None = None,
    queue: str | None = None,
    account: str | None = None,
    reservation: str | None = None,
    constraint: str | None = None,
    workers_per_job: int | None = None,
    minimum: int = 0,
    maximum: int | None = None,
    interface: str | None = None,
    scratch: str | None = None,
    log_directory: str | os.PathLike[str] | None = None,
    prologue: Sequence[str] = (),
    directives: Sequence[str] = (),
    python: str | None = None,
    job_name: str | None = None,
    security: bool | distributed.Security = True,
    certificates: str | os.PathLike[str] | None = None,
    scheduler_interface: str | None = None,
    scheduler_port: int | None = None,
    dashboard_port: int | None = None,
    config: Mapping[str, Any] | None = None,
) -> distributed.Client:
    """Start a scheduler here, and workers as jobs of SLURM.

    What is not given here is what dask's configuration says (dask-jobqueue's section
    ``jobqueue.slurm``, which sites provide): its lines of prologue, directives and
    arguments of workers stand before those that are given.

    Parameters
    ----------
    jobs : int, optional
        Keep this number of jobs running: a new one follows each that ends.
    profile : str, optional
        Another section ``jobqueue.PROFILE`` of dask's configuration, whose settings
        win over those of ``slurm``; see `profiles`.
    cores : int
        Of one job. With `memory`, needed unless the configuration has it.
    memory : str or int
        Of one job: text such as ``"64GB"``, or bytes.
    walltime : str, optional
        Of one job as SLURM writes it: ``"minutes"``, ``"hours:minutes:seconds"``,
        ``"days-hours"``, ... The workers stop earlier and one after the other, and
        hand over their results. Default of dask-jobqueue: half an hour.
    queue, account : str, optional
        Partition, and who pays.
    reservation, constraint : str, optional
        Nodes that are reserved, e.g. for a beamtime, and features that nodes must have.
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
        More options of ``#SBATCH``, e.g. ``"--exclusive"``.
    python : str, optional
        Interpreter on the nodes. Default: this one.
    job_name : str, optional
        As ``squeue`` shows it. Default: ``"xfelred"``.
    security : bool or distributed.Security
        True: connections are encrypted with a new certificate. False: whoever can
        reach the scheduler's port can run programs as you.
    certificates : path, optional
        Directory that the nodes share, for a file of mode 600 with the certificate
        and its key; removed at close. Default: ``~/.cache/xfelred``.
    scheduler_interface : str, optional
        Network of the scheduler where it is another than that of the workers.
    scheduler_port : int, optional
        Port of the scheduler, e.g. one that a firewall lets pass. Default: a free one.
    dashboard_port : int, optional
        Of the dashboard, on 127.0.0.1 of this machine only; see `dashboard_link`.
    config : mapping, optional
        Dask configuration of this cluster alone, e.g. ``{"distributed.adaptive.\
wait-count": 10}``; workers get it as variables of their environment.

    Returns
    -------
    distributed.Client
        Use it in a ``with`` statement or call its `close`: both end the jobs. Its
        attribute `cluster` has ``job_script()``, ``scale`` and ``adapt``.

    Raises
    ------
    MissingExtraError
        dask-jobqueue is not installed.
    ConfigError
        The size of a job is neither given nor configured; there is no such profile.
    ClusterError
        Jobs are to be submitted, and there is no SLURM on this machine.

    Notes
    -----
    Memory limits, threads of BLAS and the like: see `local`. A worker that has other
    versions of xfelred, numpy, ... than this process is told in a warning.
    """
    if find_spec("dask_jobqueue") is None:
        raise require_extra("dask-jobqueue", "cluster")
    from dask_jobqueue.slurm import SLURMCluster

    check_limits(jobs, minimum, maximum)
    site = settings_of(profile)
    options: dict[str, Any] = size_of_job(
        site, cores, memory, walltime, workers_per_job
    )
    options |= {name.replace("-", "_"): site.get(name) for name in PASSED_ON}
    options |= {
        "queue": quoted("queue", queue) or site.get("queue"),
        "account": quoted("account", account) or site.get("account"),
        "interface": interface_name(interface) or site.get("interface"),
        "local_directory": with_variables("scratch", scratch)
        or site.get("local-directory"),
        "log_directory": unquoted("log_directory", log_directory)
        or site.get("log-directory"),
        "python": quoted("python", python) or site.get("python"),
        "job_name": quoted("job_name", job_name) or name_of_jobs(site),
        "job_script_prologue": [
            *texts(site, "job-script-prologue"),
            *prologue,
            *exports(scratch, config or {}),
        ],
        "job_extra_directives": [
            *texts(site, "job-extra-directives"),
            *node_directives(reservation, constraint),
            *(directive(d) for d in directives),
        ],
        "worker_extra_args": [
            *texts(site, "worker-extra-args"),
            *worker_arguments(str(options["walltime"]), site),
        ],
        "scheduler_options": scheduler_options(
            site, scheduler_interface, scheduler_port, dashboard_port
        ),
    }
    place = certificates or site.get("shared-temp-directory") or CERTIFICATES
    shared = Path(str(place)).expanduser()
    with ExitStack() as undo:
        secured = job_security(security, shared, undo)
        with started_with(config or {}):
            cluster = SLURMCluster(
                **options, security=secured, shared_temp_directory=os.fspath(shared)
            )
            client = client_of(cluster, undo.pop_all())
            watch_versions(client)
            if jobs is not None:
                minimum = maximum = jobs
            if maximum is not None:  # reads its intervals from the configuration
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
