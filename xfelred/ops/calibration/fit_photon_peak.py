"""The photon peak of every pixel, from the energies of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.calibration.gaussian_fit import fit_gaussian
from xfelred.lazy import reduce_frames
from xfelred.names import FAST, MODULE, SLOW
from xfelred.ops.reductions.profile import checked_range
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record
from xfelred.reductions.gathered import Gathered

NEEDED = ("energy", MODULE, "seed_row", "seed_col")
RESULTS = {
    "amplitude": "height of the peak in a bin of the histogram",
    "position": "position of the photon peak",
    "width": "standard deviation of the photon peak",
    "count": "number of clusters",
}


@entry
def fit_photon_peak(
    clusters: xr.Dataset | xr.DataArray,
    shape: tuple[int, int, int] | None = None,
    *,
    modules: tuple[int, ...] | None = None,
    bins: int = 200,
    range: tuple[float, float] | None = None,
    min_clusters: int = 5,
) -> xr.Dataset:
    """Fit a Gaussian to the histogram of the cluster energies of every pixel.

    Parameters
    ----------
    clusters : Dataset or DataArray
        As `ops.find_clusters` returns them, of all frames together; those to leave out
        have the energy NaN (``clusters.where(clusters.is_square)`` fits square ones).
        A DataArray of energies is fitted as a whole.
    shape : (modules, rows, columns), optional
        Of the detector; needed for a Dataset. A cluster belongs to the pixel of its
        seed.
    modules : tuple of int, optional
        Numbers of the modules; by default 0, 1, and so on.
    bins : int
        Of each histogram.
    range : (low, high), optional
        What the bins span; by default the lowest to the highest energy of a pixel.
    min_clusters : int
        Pixels with fewer clusters are not fitted.

    Returns
    -------
    Dataset ([module, slow_scan, fast_scan])
        Lazy: ``amplitude`` (clusters per bin), ``position`` and ``width`` (standard
        deviation) in the unit of the energies; NaN where there is no peak to fit;
        ``count`` of the clusters.

    Raises
    ------
    ValueError
        If something is missing, or an option makes no sense.

    Notes
    -----
    ``amplitude * exp(-(x - position)**2 / (2 width**2))``, least squares with equal
    weights from the mean and standard deviation of the energies on (Marquardt 1963,
    doi:10.1137/0111030). The energies are held in memory: 32 bytes for each cluster.
    """
    if int(bins) != bins or bins < 4:
        raise ArgumentError(f"bins={bins!r}; wanted 4 or more")
    if min_clusters < 3:
        raise ArgumentError(
            f"min_clusters={min_clusters}; three numbers need 3 or more"
        )
    # One fit for all energies, or one for each pixel.
    whole = isinstance(clusters, xr.DataArray)
    if isinstance(clusters, xr.DataArray):
        arrays = [clusters]
    else:
        arrays = of_pixels(clusters, shape, modules)
    sizes = () if whole else tuple(int(n) for n in shape or ())
    params = {
        "shape": sizes,
        "n_bins": int(bins),
        "limits": checked_range(range),
        "min_values": int(min_clusters),
    }
    kinds: dict[str, Any] = dict.fromkeys(RESULTS, np.float64)
    found = reduce_frames(
        Gathered(fit_gaussian, params),
        *arrays,
        dims=tuple(map(str, arrays[0].dims)),
        results={**kinds, "count": np.int64},
        new_dims=dict(zip((MODULE, SLOW, FAST), sizes, strict=False)),
    )
    unit = unit_of(arrays[0])
    units = {"amplitude": "1", "count": "1"}
    out = variables(
        clusters,
        **{k: (v, units.get(k, unit), RESULTS[k]) for k, v in found.items()},
    )
    if not whole:
        listed = list(modules or np.arange(sizes[0]))
        out = out.assign_coords({MODULE: listed})
    return record(
        out,
        "fit_photon_peak",
        clusters,
        shape=sizes,
        bins=int(bins),
        range=params["limits"],
        min_clusters=int(min_clusters),
    )


def of_pixels(
    clusters: xr.Dataset, shape: tuple[int, ...] | None, modules: tuple[int, ...] | None
) -> list[xr.DataArray]:
    missing = [n for n in NEEDED if n not in clusters]
    if missing:
        raise ArgumentError(
            f"the clusters have no {', '.join(missing)}; give the result of"
            " ops.find_clusters, or a DataArray of energies"
        )
    if shape is None or len(shape) != 3:
        raise ArgumentError(f"shape={shape!r}; wanted (modules, rows, columns)")
    if modules is not None and len(modules) != shape[0]:
        raise ArgumentError(f"{len(modules)} module numbers for {shape[0]} modules")
    energy, number, row, column = (
        clusters[n].drop_vars(list(clusters[n].coords)) for n in NEEDED
    )
    if modules is not None and tuple(modules) != tuple(np.arange(shape[0])):
        places = [(number == m) * (i + 1) for i, m in enumerate(modules)]
        # A number that is not asked for becomes -1, as there is no such pixel.
        number = sum(places[1:], places[0]) - 1
    # NaN behind the last cluster of a frame.
    return [energy, *(a.fillna(-1).astype(np.int64) for a in (number, row, column))]
