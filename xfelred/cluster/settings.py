"""How clusters are set up: certificates, memory, caches of compiled kernels."""

from __future__ import annotations

import copy
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.config
import distributed
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT

import xfelred.kernels
from xfelred.errors import ClusterError

# Blocks are 128 MiB; reading, computing and passing on hold several at a time.
MEMORY_PER_THREAD = 2**30
# Both interfaces and every user of the machine could see a dashboard on ":8787".
LOOPBACK = "127.0.0.1"
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
    raise TypeError(
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

    Nothing, where numba finds one itself: beside the package, or in the user's
    home. Without any, kernels that are to be cached cannot even be imported.
    """
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        return {"NUMBA_CACHE_DIR": given}
    package = Path(xfelred.kernels.__file__).parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    if any(is_writable(place) for place in (package, home)):
        return {}
    place = Path(scratch or tempfile.gettempdir()) / f"xfelred-numba-{os.getuid()}"
    return {"NUMBA_CACHE_DIR": str(place)}


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
    """Raise where a script starts a cluster while a worker imports it.

    A worker imports the script that started it. Without a guard it would start a
    cluster too, and its workers theirs.
    """
    # Set while multiprocessing imports the script; there is no public sign of it.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ClusterError(
            "a worker of xf.cluster.local imports this script, and would start"
            " clusters without end; put what the script does under\n\n"
            '    if __name__ == "__main__":\n'
        )
