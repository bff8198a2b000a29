"""``xarray.open_dataset(path, engine="xfelred", chunks={})``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from xfelred.readers.open import open_run, readers


class XfelredBackend(BackendEntrypoint):
    """Frames of the only (or the named) detector of a run as a Dataset."""

    description = "Detector frames of X-ray free-electron-laser runs"
    open_dataset_parameters = (
        "filename_or_obj",
        "drop_variables",
        "detector",
        "options",
    )

    def open_dataset(
        self,
        filename_or_obj: object,
        *,
        drop_variables: str | Iterable[str] | None = None,
        detector: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a run.

        Parameters
        ----------
        filename_or_obj : path
            What `xfelred.open_run` takes.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        detector : str, optional
            Name of the detector.
        options : dict, optional
            Options of `Run.frames`.

        Returns
        -------
        Dataset
            One lazy variable, named after the key, with its coordinates.
        """
        frames = open_run(filename_or_obj).frames(detector, **(options or {}))
        out = frames.to_dataset(promote_attrs=True)
        for variable in out.variables.values():
            # What ``chunks={}`` of xarray asks for.
            variable.encoding["preferred_chunks"] = {
                d: max(c) for d, c in variable.chunksizes.items()
            } or dict(variable.sizes)
        return out.drop_vars(drop_variables) if drop_variables is not None else out

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Return whether a file is recognised; directories are left to ``engine=``."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        path = os.fspath(filename_or_obj)
        if not os.path.isfile(path) or not path.endswith(".h5"):
            return False
        return any(reader.recognises(path) for reader in readers().values())
