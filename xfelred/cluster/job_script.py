"""What goes into the script of a job of SLURM."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from dask.utils import parse_bytes

from xfelred.cluster.settings import CACHE_VARIABLE, LOOPBACK, numba_finds_a_place
from xfelred.cluster.shell import interface_name, quoted, with_variables
from xfelred.cluster.site import ANY_NAME, SECTION, SLURM, Settings, texts
from xfelred.errors import ArgumentError, ConfigError

JOB_NAME = "xfelred"
# Reading and kernels run well in threads; Python between them does so up to here.
THREADS_PER_WORKER = 4
# A worker ends before its job does, to hand over what it holds.
MARGIN_SECONDS = (60, 600)
WALLTIME = r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?"
VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
DAY, HOUR, MINUTE = 86400, 3600, 60


def size_of_job(
    site: Settings,
    cores: int | None,
    memory: str | int | None,
    walltime: str | None,
    workers_per_job: int | None,
) -> dict[str, object]:
    """Return what a job is given, or raise for what nobody said."""
    given = {"cores": cores, "memory": memory, "walltime": walltime}
    size = {name: site.get(name) if v is None else v for name, v in given.items()}
    if lacking := [name for name, v in size.items() if v is None]:
        raise ConfigError(
            f"the size of a job is unknown: give {', '.join(lacking)}, or set"
            f" {', '.join(f'{SECTION}.{SLURM}.{name}' for name in lacking)} in dask's"
            " configuration (~/.config/dask/jobqueue.yaml); `xfelred cluster profiles`"
            " shows what is set"
        )
    n_cores = whole_number("cores", size["cores"])
    workers = workers_per_job if workers_per_job is not None else site.get("processes")
    n_workers = (
        default_workers(n_cores)
        if workers is None
        else whole_number("workers_per_job", workers)
    )
    if n_cores % n_workers:
        raise ArgumentError(
            f"workers_per_job={n_workers} does not divide cores={n_cores}; the rest of"
            " the cores would idle"
        )
    return {
        "cores": n_cores,
        "memory": memory_of_job(size["memory"]),
        "walltime": str(size["walltime"]),
        "processes": n_workers,
    }


def whole_number(name: str, value: object) -> int:
    text = str(value)
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentError(f"{name}={value!r} must be a whole number, at least 1")
    return int(text)


def name_of_jobs(site: Settings) -> str:
    name = site.get("name")
    return JOB_NAME if name in (None, ANY_NAME) else str(name)


def node_directives(reservation: str | None, constraint: str | None) -> list[str]:
    given = {"reservation": reservation, "constraint": constraint}
    return [f"--{name}={quoted(name, v)}" for name, v in given.items() if v]


def scheduler_options(
    site: Settings,
    interface: str | None,
    port: int | None,
    dashboard_port: int | None,
) -> dict[str, object]:
    """Return where the scheduler listens; its dashboard not to other machines."""
    configured = site.get("scheduler-options") or {}
    if not isinstance(configured, Mapping):
        raise ConfigError(
            f"{SECTION}.{SLURM}.scheduler-options of dask's configuration must be a"
            f" mapping, such as port: 8786, got {configured!r}"
        )
    found = {"dashboard_address": f"{LOOPBACK}:0", **configured}
    if interface is not None:
        found.pop("host", None)
        found["interface"] = interface_name(interface)
    if port is not None:
        found["port"] = port_number("scheduler_port", port)
    if dashboard_port is not None:
        number = port_number("dashboard_port", dashboard_port)
        found["dashboard_address"] = f"{LOOPBACK}:{number}"
    return found


def port_number(name: str, port: int) -> int:
    if not 0 <= port < 1 << 16:
        raise ArgumentError(f"{name}={port} is no port; they are 0 (any) to 65535")
    return port


def default_workers(cores: int) -> int:
    wanted = min(cores, THREADS_PER_WORKER)
    return cores // next(n for n in range(wanted, cores + 1) if cores % n == 0)


def worker_arguments(walltime: str, site: Settings) -> list[str]:
    """Return options of ``dask worker``: when to stop, and no open dashboard.

    Those that the site gives itself are left out.
    """
    configured = " ".join(texts(site, "worker-extra-args"))
    seconds = wall_seconds(walltime)
    margin = min(max(seconds // 10, MARGIN_SECONDS[0]), MARGIN_SECONDS[1])
    if seconds < 4 * margin:
        raise ArgumentError(
            f"walltime={walltime!r} is {seconds} s; workers hand over their results"
            f" before a job ends, for which it needs {4 * MARGIN_SECONDS[0]} s or more"
        )
    # The stagger goes both ways: the last worker stops one margin before the end.
    lifetime = ["--lifetime", f"{seconds - 2 * margin}s"]
    lifetime += ["--lifetime-stagger", f"{margin}s"]
    dashboard = ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0"]
    return [
        *([] if "--lifetime" in configured else lifetime),
        *([] if "dashboard" in configured else dashboard),
    ]


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


def memory_of_job(memory: object) -> str:
    try:
        return str(parse_bytes(memory))
    except (ValueError, TypeError):
        raise ArgumentError(
            f"memory={memory!r} is no size; write it as '64GB', or as a number of bytes"
        ) from None
