"""Progress on stderr: a bar for a person, a line now and then for a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dask.callbacks import Callback
from dask.diagnostics import ProgressBar

from xfelred.cli.words import tell
from xfelred.settings import options, setting

SECONDS_BETWEEN_LINES = 10.0  # in a log file


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show how far dask is with the computations inside the block."""
    if setting("progress") is False:
        yield
        return
    start = time.monotonic()
    on_screen = sys.stderr.isatty()
    tell(what if on_screen else f"{what} ...", err=True)
    watcher = ProgressBar(out=sys.stderr) if on_screen else lines_on_stderr(what)
    with options(progress=None), watcher:  # one bar is enough
        yield
    if not on_screen:
        tell(f"{what}: {time.monotonic() - start:.1f} s", err=True)


def lines_on_stderr(what: str) -> Callback:
    """Return a callback of dask that prints a line every few seconds."""
    last = time.monotonic()

    def after_task(
        key: object,
        result: object,
        graph: object,
        state: dict[str, Any],
        worker: object,
    ) -> None:
        nonlocal last
        if time.monotonic() - last < SECONDS_BETWEEN_LINES:
            return
        last = time.monotonic()
        left = sum(len(state[name]) for name in ("ready", "waiting", "running"))
        done = len(state["finished"])
        tell(f"{what}: {done} of {done + left} tasks", err=True)

    return Callback(posttask=after_task)


@contextmanager
def steps(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many steps (`unit`, such as blocks) are done."""
    if setting("progress") is False:
        yield lambda _, __: None
        return
    start = last = time.monotonic()
    on_screen = sys.stderr.isatty()
    tell(what if on_screen else f"{what} ...", err=True)

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        line = f"{what}: {done} of {total} {unit}"
        if on_screen:
            tell(line, nl=done == total, err=True, again=True)
        elif done == total or now - last >= SECONDS_BETWEEN_LINES:
            tell(line, err=True)
            last = now

    with options(progress=None):
        yield show
    tell(f"{what}: {time.monotonic() - start:.1f} s", err=True)
