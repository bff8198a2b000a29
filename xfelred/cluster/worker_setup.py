"""What each worker of `local` does first; dask loads this module by its name."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the process that started the worker.

    A terminal sends it to all of them. The workers would end, and tell so at length,
    while the program that the user interrupts may want to go on with them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
