"""What each worker of `local` does first; dask loads this module by its name."""

from __future__ import annotations

import atexit
import gc
import logging
import signal

HEARTBEAT = "during heartbeat"  # in what a worker logs when its scheduler is gone


def dask_setup(worker: object) -> None:
    """Leave Ctrl-C, and the end of the cluster, to the process that started the worker.

    A terminal sends it to all; the program may want to go on with its workers.
    """
    # A worker that takes all of its modules apart needs most of a second to end, and
    # where many do so at once dask loses patience and kills them after 4 s.
    atexit.register(gc.freeze)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("distributed.worker").addFilter(worth_saying)


def worth_saying(record: logging.LogRecord) -> bool:
    """Tell whether a message of a worker is about more than the end of the cluster.

    The scheduler is in the process that started the worker. If it cannot be reached
    that process is ending: as it should, or it says itself why. Some workers notice
    before they are told to end, and log a traceback.
    """
    return HEARTBEAT not in str(record.msg)
