"""Detector data shown as a CXI file, without copying them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xfelred.entries import entry
from xfelred.errors import ArgumentTypeError


@entry
def write_virtual_cxi(
    detector: Any,
    path: str | os.PathLike[str],
    *,
    fillvalues: dict[str, Any] | None = None,
) -> Path:
    """Write a CXI file of virtual datasets for a detector of the European XFEL.

    Parameters
    ----------
    detector : Detector
        From ``run.detector()``.
    path : path
        Replaced if it exists.
    fillvalues : dict, optional
        Values for what was not recorded, for "data", "gain" or "mask".

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    TypeError
        If `detector` cannot be shown like this.
    """
    write = getattr(detector, "write_virtual_cxi", None)
    if write is None:
        raise ArgumentTypeError(
            f"a virtual CXI file needs a detector, such as run.detector(), not"
            f" {type(detector).__name__}; arrays are written by xfelred.write"
        )
    write(path, fillvalues)
    return Path(path)
