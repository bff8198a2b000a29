"""A cluster of worker processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import dask.config
import distributed
from distributed.system import MEMORY_LIMIT

from xfelred.cluster.client import cause, client_of
from xfelred.cluster.settings import (
    LOOPBACK,
    credentials,
    refuse_reimport,
    sensible_workers,
    started_with,
    worker_environment,
)
from xfelred.errors import ArgumentError, ClusterError

SETUP = "xfelred.cluster.worker_setup"
# When a worker is killed the others try for so long to fetch from it what it held.
# Dask's 30 s are for networks.
CONNECT, NETWORK, MACHINE = "distributed.comm.timeouts.connect", "30s", "10s"


def local(
    n_workers: int | None = None,
    threads_per_worker: int = 1,
    *,
    memory_limit: str | float | int | None = "auto",
    security: bool | distributed.Security = True,
    scratch: str | os.PathLike[str] | None = None,
    dashboard_port: int = 0,
    config: Mapping[str, Any] | None = None,
) -> distributed.Client:
    """Start worker processes on this machine.

    In a script, call it under ``if __name__ == "__main__":``, because each worker
    imports the script; notebooks need nothing.

    Parameters
    ----------
    n_workers : int, optional
        Number of processes. Default: one for each core and thread, but not more
        than the memory is enough for (1 GiB for each thread).
    threads_per_worker : int
        Reading and all kernels run side by side in threads, too.
    memory_limit : str, float, int or None
        Of one worker: text such as ``"4GiB"``, a number of bytes, a fraction of the
        machine, or None for no limit. ``"auto"``: the memory of the machine (or
        container) in equal parts.
    security : bool or distributed.Security
        True: connections are encrypted with new certificates that never leave this
        process and its workers. False: any user of the machine can connect.
    scratch : path, optional
        Directory for what does not fit in memory; fast and local. Default: dask's
        ``temporary-directory``, else that of the system.
    dashboard_port : int
        Of the dashboard, on 127.0.0.1 only. Default: any free one; see
        `dashboard_link`.
    config : mapping, optional
        Dask configuration of this cluster alone, e.g.
        ``{"distributed.scheduler.worker-saturation": 2.0}``.

    Returns
    -------
    distributed.Client
        Use it in a ``with`` statement or call its `close`: both close the cluster,
        which is its attribute `cluster`.

    Raises
    ------
    ClusterError
        The workers cannot start.

    Notes
    -----
    Left as dask has them, because measurements showed no better choice: a worker
    spills to `scratch` from 60 to 70 % of its memory, pauses at 80 % and is started
    anew at 95 % (``distributed.worker.memory``); BLAS uses one thread for each
    worker thread (``OMP_NUM_THREADS`` and the like, unless set in the environment);
    ``MALLOC_TRIM_THRESHOLD_`` gives memory back early. For reductions that stream,
    a worker-saturation of 2 instead of 1.1 was up to twice as fast in some runs.
    Workers wait 10 s instead of 30 for one that does not answer, so that a killed one
    delays the others less. Ctrl-C does not reach them. The user's own dask
    configuration counts, and is not changed; workers that start later, after a
    failure, leave such variables in the environment of this process.
    """
    refuse_reimport()
    if n_workers is None:
        n_workers = sensible_workers(threads_per_worker)
    if n_workers < 1 or threads_per_worker < 1:
        raise ArgumentError(
            f"n_workers={n_workers} and threads_per_worker={threads_per_worker} must"
            " be at least 1"
        )
    if memory_limit == "auto":
        memory_limit = MEMORY_LIMIT // n_workers
    usual = {CONNECT: MACHINE} if dask.config.get(CONNECT) == NETWORK else {}
    with started_with({**usual, **(config or {})}) as settings:
        try:
            cluster = distributed.LocalCluster(
                n_workers=n_workers,
                threads_per_worker=threads_per_worker,
                processes=True,
                memory_limit=memory_limit,
                security=credentials(security),
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:{dashboard_port}",
                local_directory=None if scratch is None else os.fspath(scratch),
                env=worker_environment(scratch),
                config=settings,
                preload=[*dask.config.get("distributed.worker.preload"), SETUP],
            )
        except RuntimeError as error:
            raise ClusterError(
                f"xf.cluster.local could not start {n_workers} worker processes"
                f" ({cause(error)});"
                " what they printed above says why. In a script, put what it does under"
                ' `if __name__ == "__main__":`, because each worker imports the script'
            ) from None
    return client_of(cluster, ExitStack())
