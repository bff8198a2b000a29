"""How clusters are set up: certificates, memory, caches of compiled kernels."""

from __future__ import annotations

import atexit
import copy
import multiprocessing
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask.config
import distributed
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT

import xfelred.kernels
from xfelred.errors import ArgumentTypeError, ClusterError

# Blocks are 128 MiB; reading, computing and passing on hold several at a time.
MEMORY_PER_THREAD = 2**30
# Both interfaces and every user of the machine could see a dashboard on ":8787".
LOOPBACK = "127.0.0.1"
CACHE_VARIABLE = "NUMBA_CACHE_DIR"
OTHERS = stat.S_IWGRP | stat.S_IWOTH  # may write
ROUTES = "distributed.scheduler.http.routes"


def credentials(
    security: bool | distributed.Security,
) -> distributed.Security | None:
    """Return new certificates for True, nothing for False, given ones as they are."""
    if security is True:
        return distributed.Security.temporary()
    if security is False:
        return None
    if isinstance(security, distributed.Security):
        return security
    raise ArgumentTypeError(
        "security must be True (new certificates), False (none), or a"
        f" distributed.Security; got {type(security).__name__}"
    )


def sensible_workers(threads_per_worker: int) -> int:
    """Return how many workers this machine has cores and memory for."""
    by_cores = CPU_COUNT // threads_per_worker
    by_memory = MEMORY_LIMIT // (threads_per_worker * MEMORY_PER_THREAD)
    return max(1, min(by_cores, by_memory))


@contextmanager
def started_with(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Set dask's configuration while a cluster starts, and undo it afterwards.

    Yields what workers need to be given: those that start later, to scale or after
    a failure, would otherwise see the configuration of that moment.
    """
    environment = dict(os.environ)
    try:
        # A scheduler without bokeh adds to this very list.
        routes = list(dask.config.get(ROUTES))
        with dask.config.set({ROUTES: routes, **config}):
            yield {"distributed": copy.deepcopy(dask.config.get("distributed"))}
    finally:
        # Starting a worker puts its settings into the environment of this process.
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


def worker_environment(scratch: str | os.PathLike[str] | None) -> dict[str, str]:
    """Return variables by which workers find a place for compiled kernels.

    Nothing, where numba finds one itself; without any, kernels that are to be cached
    cannot even be imported. Nobody else may be able to write there.
    """
    if given := os.environ.get(CACHE_VARIABLE):
        return {CACHE_VARIABLE: given}
    if numba_finds_a_place():
        return {}
    for above in (scratch or tempfile.gettempdir(), tempfile.gettempdir()):
        place = Path(above) / f"xfelred-numba-{os.geteuid()}"
        if is_private(place):
            return {CACHE_VARIABLE: str(place)}
        with suppress(OSError):
            other = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=above))
            atexit.register(shutil.rmtree, other, ignore_errors=True)
            if is_private(other):
                return {CACHE_VARIABLE: str(other)}
    raise ClusterError(
        "there is no place for compiled kernels in which nobody else can write: neither"
        " the package nor your home can be written, and others could change what is in"
        f" {scratch or tempfile.gettempdir()}; set {CACHE_VARIABLE} to a directory of"
        " your own"
    )


def numba_finds_a_place() -> bool:
    """Tell whether numba can write beside the package, or in the user's home."""
    package = Path(xfelred.kernels.__file__).parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return any(is_writable(place) for place in (package, home))


def is_private(place: Path) -> bool:
    """Make a directory if it is not there; tell whether nobody else can change it.

    Numba unpickles what it finds in its cache: who can write there runs programs as
    this user. A directory of this name may have been made by somebody else.
    """
    try:
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        found = place.lstat()
        above = [path.stat() for path in place.parent.resolve().parents]
        above.append(place.parent.stat())
    except OSError:
        return False
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not own or found.st_mode & OTHERS:
        return False
    # In a directory with the sticky bit one cannot rename what others own.
    return all(
        a.st_uid in (0, os.geteuid())
        and (not a.st_mode & OTHERS or a.st_mode & stat.S_ISVTX)
        for a in above
    )


def is_writable(directory: Path) -> bool:
    """Tell whether files can be made in a directory, which may not exist yet."""
    try:
        while not directory.exists() and directory != directory.parent:
            directory = directory.parent
        # Permissions do not tell: the whole disk may be read-only.
        tempfile.TemporaryFile(dir=directory).close()
    except OSError:
        return False
    return True


def refuse_reimport() -> None:
    """Raise where a script starts a cluster while a worker imports it."""
    # Without a guard each worker would start a cluster too, and its workers theirs.
    # Set while multiprocessing imports the script; there is no public sign of it.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            "a worker of xf.cluster.local imports this script, and would start"
            " clusters without end; put what the script does under\n\n"
            '    if __name__ == "__main__":\n'
        )
