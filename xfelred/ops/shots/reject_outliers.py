"""Shots whose value is far from that of the other shots in their bin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.arrays import Bools, Floats, Ints
from xfelred.names import LONG_NAME, UNITS
from xfelred.ops.reductions.bin_labels import bin_labels
from xfelred.ops.reductions.bins import Bins
from xfelred.provenance import record
from xfelred.shots import shot_dims

SIGMA_PER_MAD = 1.4826  # of a normal distribution


@entry(own=("where",))
def reject_outliers(
    values: xr.DataArray,
    by: Mapping[str, Bins],
    *,
    where: xr.DataArray | None = None,
    n_sigma: float = 5.0,
) -> xr.DataArray:
    """Return which shots are not far from the median of their bin.

    Parameters
    ----------
    values : DataArray (train[, pulse])
        One number per shot, such as the sum of a frame over the intensity.
    by : mapping of str to Bins
        As of `bin_frames`.
    where : DataArray (train[, pulse]), bool, optional
        Shots to look at, joined by ID.
    n_sigma : float, optional
        How many standard deviations are far. They are estimated by 1.4826 times the
        median absolute deviation in the bin, which outliers hardly change.

    Returns
    -------
    bool DataArray (train[, pulse])
        For `where` of `bin_frames`. False also for shots in no bin, not in `where`, or
        with a value that is not finite. If more than half of the values of a bin are
        equal, their spread is unknown, and none of them is rejected.

    Raises
    ------
    ValueError
        If `values` are not one number per shot, or `n_sigma` is not positive.

    Examples
    --------
    >>> values = xr.DataArray([1.0, 1.2, 0.9, 9.0, 1.1], {"train": range(5)}, "train")
    >>> reject_outliers(values, {}).values
    array([ True,  True,  True, False,  True])
    """
    if not shot_dims(values) or set(shot_dims(values)) != set(values.dims):
        raise ArgumentError(f"values must be one number per shot, not on {values.dims}")
    if not n_sigma > 0:
        raise ArgumentError(f"n_sigma={n_sigma}; wanted more than 0")
    labels = bin_labels(values, values, by, where, False).on(values)
    labels = labels.broadcast_like(values).transpose(*values.dims)
    numbers = np.asarray(values.values, np.float64).ravel()
    label = np.where(np.isfinite(numbers), labels.values.ravel(), -1)
    near = near_median(numbers, label, float(n_sigma)).reshape(values.shape)
    out = xr.DataArray(near, values.coords, values.dims, "near_median")
    out.attrs = {UNITS: "1", LONG_NAME: "not far from the median of its bin"}
    return record(out, "reject_outliers", values, by=list(by), n_sigma=n_sigma)


def near_median(values: Floats, label: Ints, n_sigma: float) -> Bools:
    out = np.zeros(values.shape, bool)
    order = np.argsort(label, kind="stable")
    # Shots in no bin have the label -1.
    order = order[np.searchsorted(label[order], 0) :]
    starts = np.flatnonzero(np.diff(label[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        apart = np.abs(values[rows] - np.median(values[rows]))
        limit = n_sigma * SIGMA_PER_MAD * np.median(apart)
        # More than half of the values are equal: nothing tells how far is far.
        out[rows] = (apart <= limit) | (limit == 0)
    return out
