"""Means of frames that are normalised by the flux of each shot."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.per_frame import divided
from xfelred.lazy import map_frames
from xfelred.names import PIXEL_DIMS, UNITS
from xfelred.ops.reductions.grouping import against, frame_dims, good_pixels
from xfelred.ops.reductions.statistics import statistics
from xfelred.ops.variables import variables
from xfelred.provenance import record
from xfelred.shots import as_labelled, at_shots

HOW = ("ratio_of_sums", "mean_of_ratios")


@entry(own=("flux",))
def mean_per_flux(
    da: xr.DataArray,
    flux: xr.DataArray,
    *,
    how: Literal["ratio_of_sums", "mean_of_ratios"] = "ratio_of_sums",
    by: str | xr.DataArray | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Average frames in units of a flux that was measured in every shot.

    Parameters
    ----------
    da : DataArray, any real dtype (...[, module, slow_scan, fast_scan])
        Frames, or one number per frame; in memory or lazy. NaN is left out.
    flux : DataArray
        One value per shot or frame, such as ``run.scalars(["flux"])["flux"]``; joined
        by labels such as train IDs. Shots with NaN or without a value are left out.
    how : {"ratio_of_sums", "mean_of_ratios"}
        ``sum(frame) / sum(flux)``, in which bright shots count for more and a dark one
        does no harm; or ``sum(frame / flux) / n``, in which every shot counts the same
        and shots with flux 0 are left out.
    by : str or DataArray, optional
        Average the frames of each value of this coordinate apart, such as "step".
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must be left out.

    Returns
    -------
    Dataset ([by,] [module, slow_scan, fast_scan])
        Lazy: ``mean`` float64, in units of `da` per unit of `flux`, NaN where there is
        no shot or the sum of the flux is 0; and ``count`` of the shots in it.

    Raises
    ------
    ValueError
        If `how` is unknown, or `flux` or `by` do not belong to the frames.
    """
    flux = as_labelled(flux, "flux")
    if flux.dtype.kind not in "iuf":
        raise ArgumentError(f"flux has dtype {flux.dtype}; wanted numbers")
    array = good_pixels(da, bad_pixels)
    name = str(flux.name or "flux")
    mine = at_shots(flux, da, name)
    # In one pass: both sums are in the state of a regression.
    if how == "ratio_of_sums":
        kinds = {"ratio": np.float64, "count": np.int64}
        found = against(array, mine, kinds, by=by)
        mean, count = found["ratio"], found["count"]
    else:
        # A ratio for every frame first; by 0 it is NaN, which the mean leaves out.
        dims = frame_dims(da, PIXEL_DIMS)
        ratios = map_frames(
            divided, array, mine, name="mean_per_flux", dtype=np.float64,
        )  # fmt: skip
        both = statistics(ratios, dims, which=("mean", "count"), by=by)
        mean, count = both["mean"], both["count"]
    unit = f"{da.attrs.get(UNITS, '1')}/({flux.attrs.get(UNITS, name)})"
    out = variables(
        da,
        mean=(mean, unit, f"mean per {name}"),
        count=(count, "1", "number of shots in the mean"),
    )
    group = by if by is None or isinstance(by, str) else by.name
    return record(
        out, "mean_per_flux", da, flux=flux, how=how, by=group, bad_pixels=bad_pixels
    )
