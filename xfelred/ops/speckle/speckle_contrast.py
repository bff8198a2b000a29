"""The contrast of speckle, from photon counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, listing
from xfelred.kernels.speckle.contrast import QUANTITIES
from xfelred.lazy import reduce_frames
from xfelred.names import QUANTITY, UNITS, Q
from xfelred.ops.speckle.photon_statistics import PHOTONS
from xfelred.ops.speckle.rings import RING
from xfelred.ops.variables import variables
from xfelred.provenance import record
from xfelred.reductions.speckle import SpeckleFit

K_BIN = "k_bin"
TEXTS = {
    "contrast": "speckle contrast, 1 / modes",
    "contrast_error": "standard error of the contrast",
    "modes": "number of modes",
    "k_mean": "photons per pixel",
    "n_pixels": "number of pixels of all frames",
    "n_frames": "number of frames",
}


@entry
def speckle_contrast(
    statistics: xr.Dataset, *, k_edges: Sequence[float] | None = None
) -> xr.Dataset:
    """Fit the contrast of speckle to the photon counts of frames, for every ring.

    Parameters
    ----------
    statistics : Dataset
        Of `ops.photon_statistics`, of frames one by one; it uses ``histogram``.
    k_edges : sequence of float, photons per pixel, optional
        Fit the frames of each bin of their mean in a ring, ``low <= mean < high``,
        apart: whether the contrast depends on the rate of counts. By default all
        together.

    Returns
    -------
    Dataset (q or ring[, k_bin])
        Lazy, float64: ``contrast`` and its standard error ``contrast_error``;
        ``modes``, 1 / contrast; ``k_mean``; and int64 ``n_pixels`` and ``n_frames``. A
        contrast around 0 may come out below. It is NaN where no pixel has two photons.
        The coordinates ``k_edge_low`` and ``k_edge_high`` are the limits of k_bin.

    Raises
    ------
    ArgumentError
        If there are no frames with a histogram, or `k_edges` do not rise.

    Notes
    -----
    A pixel of M modes and the mean m has k photons with the negative binomial
    probability (Goodman, Speckle Phenomena in Optics, 2007, section 9)

        P(k) = G(k + M) / (G(M) k!) (1 + M / m)^-k (1 + m / M)^-M

    Each frame has its own m, for the pulses of a free-electron laser differ; 1 / M is
    the most likely for all of them, corrected for the means that are found from the
    same pixels, and its error follows from the Fisher information that was observed
    (`xfelred.kernels.speckle.contrast`).

    Examples
    --------
    >>> counts = [[[600, 200, 100, 50]], [[500, 250, 120, 80]]]
    >>> histogram = xr.DataArray(counts, dims=("train", "ring", "k"))
    >>> found = speckle_contrast(xr.Dataset({"histogram": histogram}))
    >>> round(float(found["contrast"][0]), 2), int(found["n_frames"][0])
    (0.54, 2)
    """
    edges = checked_edges(k_edges)
    counts = histogram_of(statistics)
    ring = str(counts.dims[-2])
    frame_dims = tuple(str(d) for d in counts.dims[:-2])
    n = len(edges) - 1
    packed = reduce_frames(
        SpeckleFit(edges),
        counts,
        dims=(*frame_dims, PHOTONS),
        results={"fit": np.float64},
        new_dims={K_BIN: n, QUANTITY: len(QUANTITIES)},
    )["fit"]
    found = {q: packed.isel({QUANTITY: i}) for i, q in enumerate(QUANTITIES)}
    found["modes"] = 1 / found["contrast"]
    found |= {k: found[k].astype(np.int64) for k in ("n_pixels", "n_frames")}
    units = {"k_mean": "photon"}
    out = variables(
        statistics,
        **{k: (found[k], units.get(k, "1"), text) for k, text in TEXTS.items()},
    )
    kept = [
        c
        for c in statistics.coords
        if statistics[c].dims in ((ring,), (f"{ring}_edge",))
    ]
    out = out.assign_coords({c: statistics[c].variable for c in kept})
    if k_edges is None:
        out = out.isel({K_BIN: 0})
    else:
        unit = {UNITS: "photon"}
        ends = {"k_edge_low": edges[:-1], "k_edge_high": edges[1:]}
        out = out.assign_coords(
            {c: (K_BIN, np.array(e), unit) for c, e in ends.items()}
        )
    return record(out, "speckle_contrast", statistics, k_edges=k_edges)


def histogram_of(statistics: xr.Dataset) -> xr.DataArray:
    """Return the counts (frames..., ring, k), or raise where there are none."""
    known = statistics.get("histogram")
    rings = () if known is None else tuple(d for d in (Q, RING) if d in known.dims)
    if known is None or PHOTONS not in known.dims or len(rings) != 1:
        raise ArgumentError(
            "statistics needs a variable 'histogram' of ops.photon_statistics; got"
            f" {listing(statistics.data_vars)}"
        )
    if known.ndim < 3:
        raise ArgumentError(
            "statistics are of one frame, or frames that were added up: their means"
            " are needed one by one. Call ops.photon_statistics without dim="
        )
    if known.dtype.kind not in "iu":
        raise ArgumentError(
            f"statistics: histogram has dtype {known.dtype}, not counts"
        )
    labels = known.coords.get(PHOTONS)
    whole = np.arange(known.sizes[PHOTONS])
    if labels is not None and not np.array_equal(labels.values, whole):
        raise ArgumentError(
            "statistics: the histogram must be whole, of 0, 1, 2, ... photons; its"
            f" {PHOTONS} is {listing(labels.values.tolist())}"
        )
    out = known.reset_coords(drop=True).transpose(..., *rings, PHOTONS)
    return out.chunk({PHOTONS: -1}) if len(out.chunksizes.get(PHOTONS, ())) > 1 else out


def checked_edges(given: Sequence[float] | None) -> tuple[float, ...]:
    if given is None:
        return (0.0, np.inf)
    try:
        edges: NDArray[np.float64] = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        edges = np.array([])
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ArgumentError(f"k_edges={listing(given)}: wanted two or more that rise")
    return tuple(edges.tolist())
