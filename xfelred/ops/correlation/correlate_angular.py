"""Angular correlations of the rings of every shot, or of all shots."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.kernels.correlation import pairs as correlation
from xfelred.lazy import map_frames, reduce_frames
from xfelred.names import LAG, PHI, QUANTITY, RADIUS
from xfelred.ops.correlation.ring_correlation import (
    Normalization,
    correlation_dataset,
    ring_number,
    with_masks,
)
from xfelred.provenance import record
from xfelred.reductions.correlations import RingCorrelation


@entry(own=("with_ring",))
def correlate_angular(
    polar: xr.DataArray,
    *,
    with_ring: int | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    normalization: Normalization = "pairs",
    reduce: Literal["mean"] | None = None,
) -> xr.Dataset:
    """Correlate every ring with itself, or with one ring, round the circle.

    Parameters
    ----------
    polar : DataArray, any real dtype (..., radius, phi)
        Polar maps with all azimuths of the circle, as from `remap_polar`. NaN is bad.
    with_ring : int, optional
        Position along `radius` of the ring that leads:
        C[q, k] = sum_n d[with_ring, n + k] d[q, n].
    bad_pixels : DataArray or array, bool or integer (radius, phi), optional
        Non-zero: left out. May have frame dims as well.
    normalization : {"none", "pairs", "variance", "mean"}
        "none": the sum over good azimuths. "pairs": the mean over good azimuths is
        removed from each ring, and the sum divided by the number of good pairs.
        "variance": that divided by the standard deviations of both rings; "mean": by
        their means, over good azimuths.
    reduce : "mean", optional
        Correlate all shots together: sums of products over all frame dims are divided
        by sums of counts, and standard deviations and means are those over all shots.
        With "none", the mean over the shots of which the ring has a good azimuth.

    Returns
    -------
    Dataset
        On (..., radius, lag), or (radius, lag) if reduced; lazy. `correlation`, float64
        if reduced, else with the precision of `polar`; `n_pairs`, how many pairs of
        good azimuths lie at the lag, int64. Without a pair the correlation is NaN.
        `lag` in rad from 0. If a ring leads, scalar coordinates `lead_radius` and
        `lead_q`.

    Raises
    ------
    ValueError
        If an option does not exist or there is no such ring.
    GeometryMismatchError
        If `polar` is no polar map of the full circle, or `bad_pixels` does not fit.

    Notes
    -----
    With m = 1 where an azimuth is good, else 0, and d' = (d - <d>) m, the correlation
    is F^-1[F(d'_a) F*(d'_b)] / n, n = F^-1[F(m_a) F*(m_b)] rounded to whole numbers
    (Wochner et al. 2009, doi:10.1073/pnas.0905337106; Kam 1977,
    doi:10.1021/ma60059a009). Transforms of float32 are in single precision after the
    mean was removed, exact to 1e-7 of the largest correlation; sums are float64.
    """
    array = with_masks(polar, bad_pixels)
    lead = ring_number(with_ring, array.sizes[RADIUS])
    if reduce is None:
        n = {QUANTITY: 2, RADIUS: array.sizes[RADIUS], LAG: array.sizes[PHI]}
        packed = map_frames(
            correlation.correlations,
            array,
            core_dims=(RADIUS, PHI),
            out_core=n,
            dtype=np.result_type(array.dtype, np.float32),
            name="correlate_angular",
            lead=lead,
            normalization=normalization,
        )
        counts = packed.isel({QUANTITY: 1}).astype(np.int64)
        found = {"correlation": packed.isel({QUANTITY: 0}), "n_pairs": counts}
    else:
        found = over_shots(array, RingCorrelation(lead, normalization))
    result = correlation_dataset(found, polar, normalization, lead, "rings")
    return record(
        result,
        "correlate_angular",
        polar,
        with_ring=lead,
        bad_pixels=bad_pixels,
        normalization=normalization,
        reduce=reduce,
    )


def over_shots(array: xr.DataArray, reduction: RingCorrelation) -> dict[str, Any]:
    """Return the correlations of rings over all shots together."""
    return reduce_frames(
        reduction,
        array,
        # Over phi as well, in whose place the lags come.
        dims=[str(d) for d in array.dims if d != RADIUS],
        results={"correlation": np.float64, "n_pairs": np.int64},
        new_dims={LAG: array.sizes[PHI]},
    )
