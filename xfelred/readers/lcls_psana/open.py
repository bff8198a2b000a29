"""Opening a run of xtc2 files."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from xfelred.errors import BrokenFileError
from xfelred.readers.base import Reader
from xfelred.readers.lcls_psana.address import SUFFIX, is_address, parse
from xfelred.readers.lcls_psana.run import Run
from xfelred.readers.lcls_psana.session import psana
from xfelred.readers.lcls_psana.survey import survey
from xfelred.readers.paths import Path


def open_source(
    source: Path,
    run: int | str | None = None,
    data: object = None,
    include: object = None,
    *,
    offline: bool = False,
    constants: Mapping[str, xr.Dataset] | None = None,
) -> Run:
    """Open a run of xtc2 files; one pass over the small files finds its events.

    Parameters
    ----------
    source : str or path
        See `xfelred.readers.lcls_psana.address.parse`.
    run : int, optional
        Number of the run, if the source does not name it.
    data, include
        Without meaning here.
    offline : bool, optional
        Ask no service of the facility.
    constants : dict of str to Dataset, optional
        Of detectors; `Run.constants` returns them as they are.

    Raises
    ------
    ConfigError
        If the source does not name a run.
    MissingExtraError
        If psana2 cannot be imported.
    BrokenFileError
        If the files are not there or cannot be read.
    """
    address = parse(source, run, offline=bool(offline))
    psana()  # without it nothing else needs mending first
    found = survey(address)
    if not len(found.ids):
        raise BrokenFileError(f"{address} holds no events")
    return Run(address, found, found.ids, dict(constants or {}))


def recognises(path: str) -> bool:
    """Return whether a file is one of psana2, by its name: it has no signature."""
    return path.endswith(SUFFIX)


READER = Reader(
    facility="lcls",
    looks_for="exp=NAME:run=NUMBER or *.xtc2 (psana2)",
    recognises=recognises,
    open=open_source,
    claims=is_address,
)
