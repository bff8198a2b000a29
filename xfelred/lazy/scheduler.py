"""What dask computes with: asked in one place, and mended in forked children."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext
from typing import Any

import dask.base
import dask.config
import dask.local
import dask.threaded
from dask.system import CPU_COUNT

from xfelred.errors import SchedulerError, warn

# Schedulers that need nothing of the process that they were chosen in.
PLAIN = ("threads", "threading", "synchronous", "sync", "single-threaded", "processes",
         "multiprocessing")  # fmt: skip


def current_scheduler() -> Any:
    """Return the function that computes, None for the default, which is threads."""
    try:
        return dask.base.get_scheduler()
    # An asynchronous client: nobody can wait for its results on this thread.
    except RuntimeError as error:
        raise SchedulerError(
            "the client of dask that is open here is asynchronous, and this call waits"
            " for its result. Make it on another thread, await"
            " asyncio.to_thread(xf.write, data, path), or without the cluster, with"
            " dask.config.set(scheduler='threads')"
        ) from error


def threads_compute() -> bool:
    return current_scheduler() in (None, dask.threaded.get)


def n_threads() -> int:
    """Return how many threads of this process compute, if they do."""
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def shares_memory() -> bool:
    """Tell whether what computes can write to arrays and files of this process."""
    return threads_compute() or current_scheduler() is dask.local.get_sync


def client() -> Any:
    """Return the client of the workers that compute; None where this process does."""
    found = getattr(current_scheduler(), "__self__", None)
    return found if hasattr(found, "nthreads") else None


def this_machine() -> Any:
    """Return settings of dask with which what needs a file open here is computed.

    Workers do not see our files, and a file cannot go to a pool of processes.
    """
    here = shares_memory()
    return nullcontext() if here else dask.config.set(scheduler="threads")


def warn_in_task(text: str) -> None:
    """Warn from inside a task; a worker of a cluster tells the client, too."""
    getattr(sys.modules.get("distributed"), "warn", warn)(text)


def mend_after_fork() -> None:
    """Let a forked child compute with threads of its own.

    dask keeps its pools (checked with 2025.4 and 2026.8), and a client, whose threads
    are not in the child: what is submitted to them is never done. Locks may have been
    held by threads that are not there either.
    """
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    dask.threaded.pools_lock = threading.Lock()
    dask.threaded.main_thread = threading.current_thread()
    if dask.config.config_lock.locked():
        dask.config.config_lock.release()
    config = dask.config.config
    config.pop("pool", None)
    chosen = config.get("scheduler")
    if chosen not in PLAIN and (chosen or "distributed" in sys.modules):
        config["scheduler"] = "threads"


os.register_at_fork(after_in_child=mend_after_fork)
