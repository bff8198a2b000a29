"""What every reader offers to `xfelred.open_run`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from xfelred.errors import ArgumentTypeError, listing
from xfelred.readers.paths import candidates
from xfelred.readers.protocol import Run


@dataclass(frozen=True)
class Reader:
    """A way to open runs of one facility.

    Readers of other packages register an instance of this class in the entry-point
    group ``xfelred.readers``.

    Attributes
    ----------
    facility : str
        Name for ``facility=``.
    looks_for : str
        What tells its files from others; shown when a file is not recognised.
    recognises : callable
        ``recognises(path) -> bool`` looks into one file.
    open : callable
        ``open(source, run, data, include, **options) -> Run``.
    claims : callable, optional
        ``claims(source) -> bool`` tells sources that name no file, such as
        "exp=xpptut15:run=14".
    """

    facility: str
    looks_for: str
    recognises: Callable[[str], bool]
    open: Callable[..., Run]
    claims: Callable[[object], bool] = field(default=lambda source: False)

    def opened(
        self,
        source: object,
        run: object,
        data: object,
        include: str,
        options: dict[str, Any],
    ) -> Run:
        """Open a run.

        Raises
        ------
        ArgumentTypeError
            If the reader does not have one of the options.
        """
        signature = inspect.signature(self.open)
        try:
            signature.bind(source, run, data, include, **options)
        except TypeError as error:
            parameters = signature.parameters.values()
            known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
            raise ArgumentTypeError(
                f"open_run, for {self.facility}: {error}. Its options are"
                f" {listing(known)}; facility= says whose reader it is"
            ) from None
        return self.open(source, run, data, include, **options)


def first_that_knows(
    source: object, readers: Iterable[Reader]
) -> tuple[Reader | None, list[str]]:
    """Return the first reader that knows a source, and the files that were looked into.

    What names no file is asked for first: looking for files would fail.
    """
    readers = list(readers)
    paths: list[str] = []
    found = next((r for r in readers if r.claims(source)), None)
    if found is None:
        paths = candidates(source)
        found = next((r for r in readers if any(map(r.recognises, paths))), None)
    return found, paths
