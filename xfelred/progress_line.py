"""How far dask is on the threads of this process, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from dask.callbacks import Callback

WIDTH = 30  # characters
ON_SCREEN, IN_FILE = 0.2, 10.0  # seconds between two lines


def on_screen() -> bool:
    """Tell whether a person looks at stderr, in a terminal or in a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


class ProgressLine(Callback):  # type: ignore[misc]
    """A line that says how many tasks are done, while it is `wanted` after a task.

    It needs no thread, so that computations side by side and forked children are safe.
    """

    def __init__(self, wanted: Callable[[], bool]) -> None:
        super().__init__()
        self.wanted = wanted
        self.last = 0.0

    def _start(self, _: object) -> None:
        self.last = time.monotonic()

    def _posttask(
        self, key: object, value: object, dsk: object, state: dict[str, Any], _: object
    ) -> None:
        now, screen = time.monotonic(), on_screen()
        if now - self.last < (ON_SCREEN if screen else IN_FILE) or not self.wanted():
            return
        self.last = now
        self.show(state, "\r" if screen else "", "" if screen else "\n")

    def _finish(self, _: object, state: dict[str, Any], __: object) -> None:
        if self.wanted() and on_screen():
            self.show(state, "\r", "\n")

    def show(self, state: dict[str, Any], start: str, end: str) -> None:
        done = len(state["finished"])
        total = done + sum(len(state[name]) for name in ("ready", "waiting", "running"))
        bar = "#" * (WIDTH * done // max(total, 1))
        line = f"{start}[{bar:<{WIDTH}}] {done} of {total} tasks{end}"
        sys.stderr.write(line)
        sys.stderr.flush()
