"""HDF5 files of cubes, laid out as those of smalldata_tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import xarray as xr

from xfelred.names import BAD_IN_MASK, BAD_PIXELS, GAIN, GAIN_FACTOR
from xfelred.ops.cuts import Cut
from xfelred.products.blocks import hdf5_storage, store
from xfelred.products.sink import checked_sink

SELECTION = "cubeSelection"
CONFIG = "_cfg"
MICROMETRES = 1e6  # in a metre: positions of pixels are in m here
# Their name in the file, ours, and the factor to their unit. They call gain what
# divides and what multiplies; which, the kind of the detector says.
CONSTANTS = (
    ("ped", "pedestal", 1.0),
    ("rms", "noise", 1.0),
    ("gain", GAIN, 1.0),
    ("gain", GAIN_FACTOR, 1.0),
    ("x", "x", MICROMETRES),
    ("y", "y", MICROMETRES),
    ("ix", "ix", 1),
    ("iy", "iy", 1),
)


def write_lcls_cube(
    path: Path,
    arrays: Mapping[str, Any],
    *,
    constants: Mapping[str, xr.Dataset],
    selection: str,
) -> None:
    """Write a cube as smalldata_tools does; lazy arrays (bins, ...) block by block.

    `selection` says what shots were selected: the attribute ``cubeSelection``. Of the
    `constants` of detectors ``<detector>_cfg`` is made.
    """
    with checked_sink(path) as sink, h5py.File(sink, "w") as file:
        file.attrs[SELECTION] = selection
        lazy: dict[str, da.Array] = {}
        for name, values in arrays.items():
            if not isinstance(values, da.Array):
                file[name] = np.asarray(values)
                continue
            options = hdf5_storage(values)
            file.create_dataset(name, values.shape, values.dtype, **options)
            lazy[name] = values
        store(lazy, {name: file[name] for name in lazy})
        for detector, known in constants.items():
            for name, values in lcls_constants(known).items():
                file[f"{detector}{CONFIG}/{name}"] = values


def lcls_constants(known: xr.Dataset) -> dict[str, Any]:
    """Return constants of a detector by their names and in the sense of LCLS."""
    out = {
        name: (known[ours] * factor).values if factor != 1 else known[ours].values
        for name, ours, factor in CONSTANTS
        if ours in known
    }
    # There 1 is a good pixel; there are two masks where the run tells which pixels are
    # bad for its calibration alone.
    masks = {"mask": BAD_PIXELS}
    if BAD_IN_MASK in known:
        masks = {"mask": BAD_IN_MASK, "calib_mask": BAD_PIXELS}
    for name, ours in masks.items():
        if ours in known:
            out[name] = (known[ours].values == 0).astype(np.uint8)
    return out


def selection_text(cuts: Iterable[Cut]) -> str:
    lines = []
    for i, cut in enumerate(cuts):
        low, high = strict_limits(cut)
        lines.append(f"Cut {i}: {low:f} < {cut.name} < {high:f}")
    return "\n".join(lines)


def strict_limits(cut: Cut) -> tuple[float, float]:
    # Theirs exclude both ends: equal ones say what is refused.
    for name, number in cut.tests:
        if name == "==":
            return number - 0.5, number + 0.5
        if name == "!=":
            return number, number
    return cut.limits
