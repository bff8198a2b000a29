"""Runs in a ``with`` statement."""

from __future__ import annotations

from typing import Self


class Context:
    """``with open_run(...) as run`` for the runs of every facility.

    There is nothing to close: readers share a limited number of open files, and close
    what is not used. So a run stays usable behind the block, as do its lazy arrays.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        """Do nothing, so that an exception goes on."""

    def close(self) -> None:
        """Do nothing: files that are not used are closed by themselves."""
