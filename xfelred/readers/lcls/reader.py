"""The reader that `xfelred.open_run` finds for LCLS data of every kind."""

from __future__ import annotations

from xfelred.errors import BrokenFileError, UnknownFormatError
from xfelred.hdf5 import open_group
from xfelred.readers.base import Reader, first_that_knows
from xfelred.readers.lcls_calibsuite.open import READER as CALIBRATION_SUITE
from xfelred.readers.lcls_psana.open import READER as PSANA
from xfelred.readers.lcls_smalldata.open import READER as SMALL_DATA
from xfelred.readers.left_out import told
from xfelred.readers.protocol import Run

# One line for each kind of LCLS data; the first that knows a source opens it.
KINDS: tuple[Reader, ...] = (PSANA, SMALL_DATA, CALIBRATION_SUITE)


def claims(source: object) -> bool:
    """Return whether a source that is no file names LCLS data."""
    return any(kind.claims(source) for kind in KINDS)


def recognises(path: str) -> bool:
    """Return whether a file is one of LCLS."""
    return any(kind.recognises(path) for kind in KINDS)


def open_source(
    source: object,
    run: object = None,
    data: object = "default",
    include: str = "*",
    **options: object,
) -> Run:
    """Open a run with the reader of its kind; see `xfelred.open_run`.

    Raises
    ------
    UnknownFormatError
        If no kind knows the source.
    BrokenFileError
        If the file cannot be opened.
    """
    kind, paths = first_that_knows(source, KINDS)
    if kind is None:
        for path in paths:
            try:
                open_group(path, "/")
            except BrokenFileError as error:  # it may well be one of LCLS
                raise told(path, error) from error
        looked = "; ".join(k.looks_for for k in KINDS)
        raise UnknownFormatError(
            f"{source} holds no LCLS data: looked into {len(paths)} file(s) for"
            f" {looked}"
        )
    return kind.opened(source, run, data, include, options)


READER = Reader(
    facility="lcls",
    looks_for="; ".join(kind.looks_for for kind in KINDS),
    recognises=recognises,
    open=open_source,
    claims=claims,
)
