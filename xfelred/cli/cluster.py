"""`xfelred cluster`: start workers, and see what SLURM would be given."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import dask

import xfelred as xf
from xfelred.cli.where import job_options, of_jobs, quiet_dask
from xfelred.cli.words import tell, tell_json
from xfelred.errors import OutputExistsError
from xfelred.small_files import read_bytes

if TYPE_CHECKING:
    from xfelred.cluster.client import OwningClient

SCHEDULER_FILE = "xfelred-cluster.json"
SECONDS_TO_ANSWER = 3.0  # the file of a cluster that ended must not delay a start


@click.group()
def cluster() -> None:
    """Start workers on this machine, or show the job script for SLURM."""


@cluster.command()
@click.option(
    "--workers", type=click.IntRange(1), metavar="N",
    help="Processes. Default: what cores and memory are enough for.",
)  # fmt: skip
@click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1), metavar="N",
    help="Threads of each process.",
)  # fmt: skip
@click.option(
    "--memory-limit", default="auto", show_default=True, metavar="SIZE",
    help="Of one process, such as 4GiB.",
)  # fmt: skip
@click.option(
    "--scratch", type=click.Path(exists=True, file_okay=False), metavar="DIRECTORY",
    help="For what does not fit in memory.",
)  # fmt: skip
@click.option(
    "--scheduler-file", default=SCHEDULER_FILE, show_default=True,
    type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where to write the address; give this file to xf.cluster.connect.",
)  # fmt: skip
@click.option("--insecure", is_flag=True, help="No encryption and no certificates.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def start(
    workers: int | None,
    threads: int,
    memory_limit: str,
    scratch: str | None,
    scheduler_file: Path,
    insecure: bool,
    as_json: bool,
) -> None:
    """Start workers on this machine and keep them until Ctrl-C."""
    path = scheduler_file.absolute()
    refuse_running(path)
    quiet_dask()
    certificate = None if insecure else xf.cluster.new_certificate(path.parent)
    try:
        with xf.cluster.local(
            workers,
            threads,
            memory_limit=memory_limit,
            security=False
            if certificate is None
            else xf.cluster.from_certificate(certificate),
            scratch=scratch,
        ) as client:
            xf.cluster.write_scheduler_file(path, client.scheduler.address, certificate)
            with stop_signal() as stopped:
                describe(client, path, as_json)
                stopped.wait()
    finally:
        # Whoever found them later would try to reach a cluster that has ended.
        path.unlink(missing_ok=True)
        if certificate is not None:
            certificate.unlink(missing_ok=True)


def refuse_running(path: Path) -> None:
    """Raise if a file is anything but the scheduler file of a cluster that ended."""
    if not os.path.lexists(path):
        return
    address = address_in(path)
    if address is None:
        raise OutputExistsError(
            f"{path} is there already and is not a scheduler file; pass another"
            " --scheduler-file"
        )
    if answers(path, address):
        raise OutputExistsError(
            f"{path} belongs to a cluster that is running at {address}; use it with"
            f" xf.cluster.connect({str(path)!r}), or pass another --scheduler-file"
        )
    path.unlink()


def address_in(path: Path) -> str | None:
    """Return the address in a scheduler file; None if it is not one."""
    try:
        address = json.loads(read_bytes(path, "scheduler file"))["address"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # JSON that is nested too deep recurses
    return address if isinstance(address, str) and "://" in address else None


def answers(path: Path, address: str) -> bool:
    """Tell whether a cluster is there; only a refused connection says no."""
    with suppress(xf.cluster.ClusterError):
        xf.cluster.connect(path, timeout=SECONDS_TO_ANSWER).close()
        return True
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), SECONDS_TO_ANSWER):
            return True
    except ConnectionRefusedError:
        return False
    except (OSError, ValueError):
        return True


def describe(client: OwningClient, path: Path, as_json: bool) -> None:
    facts = {
        "address": client.scheduler.address,
        "scheduler_file": str(path),
        "dashboard": xf.cluster.dashboard_link(client),
        "workers": len(client.scheduler_info(n_workers=-1)["workers"]),
    }
    if as_json:
        tell_json(facts, indent=None)
        return
    for name, fact in facts.items():
        tell(f"{name.replace('_', ' '):<16}{fact}")
    tell(f"client = xf.cluster.connect({str(path)!r})")
    tell("Ctrl-C stops it.", err=True)


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C, or the end of a job, sets."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@cluster.command("job-script")
@job_options
@click.option("--insecure", is_flag=True, help="No encryption and no certificates.")
def job_script(insecure: bool, **options: Any) -> None:
    """Print the script that xf.cluster.slurm gives to SLURM; submit nothing.

    What no option says is as dask's configuration has it.
    """
    quiet_dask()
    try:
        client = xf.cluster.slurm(security=not insecure, **of_jobs(options))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with client:  # of a scheduler in this process, which ends with the block
        tell(client.cluster.job_script(), nl=False)


@cluster.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def profiles(as_json: bool) -> None:
    """Show the kinds of jobs that dask's configuration describes.

    Each is a section `jobqueue.NAME` of what the site and you have in the files that
    are named; give --profile NAME to use it. Settings that a section leaves out are
    those of `slurm`.
    """
    found = xf.cluster.profiles()
    # What dask read its configuration from.
    files = [
        str(file)
        for place in map(Path, dask.config.paths)
        for file in ([place] if place.is_file() else sorted(place.glob("*.y*ml")))
    ]
    if as_json:
        tell_json({"files": files, "profiles": found})
        return
    for name, settings in found.items():
        tell(name)
        for key, value in settings.items():
            text = " ".join(map(str, value)) if isinstance(value, list) else value
            tell(f"    {key:<24}{text}")
    tell("")
    tell("read from " + (", ".join(files) or "no file: these are dask's defaults"))
