"""Write results; the file format follows from the end of the name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, logger_of
from xfelred.products.atomic import atomic_output
from xfelred.products.cxi import write_cxi
from xfelred.products.faults import explained
from xfelred.products.lock import only_writer
from xfelred.products.netcdf import write_netcdf
from xfelred.products.nexus import write_nexus
from xfelred.products.parquet import write_parquet
from xfelred.products.prepare import prepare
from xfelred.products.tiff import write_tiff
from xfelred.products.zarr_store import refuse_unfinished, resume_zarr, write_zarr

logger = logger_of("xfelred.products")

Writer = Callable[[xr.Dataset, Path], None]
WRITERS: dict[str, Writer] = {
    ".zarr": write_zarr,
    ".nxs": write_nexus,
    ".h5": write_nexus,
    ".hdf5": write_nexus,
    ".nc": write_netcdf,
    ".cxi": write_cxi,
    ".parquet": write_parquet,
    ".tif": write_tiff,
    ".tiff": write_tiff,
}


@entry
def write(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Compute a result block by block and write it.

    Parameters
    ----------
    obj : Dataset or DataArray
        Lazy or not. Memory use is a few blocks, however long the result.
    path : path
        The ending chooses the format: ``.zarr`` (zarr v3), ``.nxs`` ``.h5``
        ``.hdf5`` (NeXus), ``.nc`` (netCDF-4), ``.cxi`` (frames for CrystFEL and
        others), ``.parquet`` (one row for each shot, or entry of a table), ``.tif``
        ``.tiff`` (one image or a stack).
    resume : bool
        Keep finished blocks when the call is interrupted, and continue with what
        an interrupted call has left. Only for ``.zarr``.
    overwrite : bool
        Replace a product of this name once the new one is complete; with `resume`,
        start anew.

    Returns
    -------
    Path
        Where the product is. After an error nothing new carries this name.

    Raises
    ------
    OutputExistsError
        There is such a product, or an unfinished one, and `overwrite` is false; or
        something else is writing it now.
    OutputError
        The disk is full, or fails.
    WorkersLostError
        Workers of the cluster died again and again, or the cluster is gone.
    ValueError
        The format is unknown or cannot hold this result.
    MissingExtraError
        The format needs a package that is not installed.
    """
    path = Path(path).absolute()
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ArgumentError(
            f"no file format ends in {path.suffix!r} ({path.name});"
            f" there are {', '.join(WRITERS)}"
        )
    if resume and writer is not write_zarr:
        raise ArgumentError(
            f"resume=True works with .zarr only, got {path.suffix!r};"
            " write a .zarr first, then convert it with another xf.write"
        )
    if not resume:
        return write_whole(prepare(obj), path, writer, overwrite=overwrite)
    with explained(path, resume=True), only_writer(path):
        resume_zarr(prepare(obj), path, overwrite=overwrite)
    logger.info("wrote %s", path)
    return path


def write_whole(ds: xr.Dataset, path: Path, writer: Writer, *, overwrite: bool) -> Path:
    """Write a prepared Dataset, so that nothing unfinished carries the name."""
    with explained(path, resume=False), only_writer(path):
        refuse_unfinished(path, overwrite=overwrite)
        with atomic_output(path, overwrite=overwrite) as partial:
            writer(ds, partial)
    logger.info("wrote %s", path)
    return path
