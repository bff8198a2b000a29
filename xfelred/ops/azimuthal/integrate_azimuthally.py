"""Azimuthal integration of every frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.geometry import rings
from xfelred.geometry.rings import Bins
from xfelred.kernels.arrays import Floats
from xfelred.kernels.azimuthal import integrate as azimuthal
from xfelred.lazy import map_frames, reduce_frames
from xfelred.names import (
    PHI,
    PIXEL_DIMS,
    QUANTITY,
    UNITS,
)
from xfelred.ops.companions import on_frames, on_pixels
from xfelred.ops.validity import unrecorded
from xfelred.ops.variables import variables
from xfelred.provenance import record
from xfelred.reductions.ring_sums import RingSums


@entry
def integrate_azimuthally(
    da: xr.DataArray,
    q_bins: Bins,
    *,
    phi_bins: Bins | None = None,
    unit: Literal["q", "two_theta"] = "q",
    q_range: tuple[float, float] | None = None,
    split: Literal["no", "bbox", "full"] = "no",
    solid_angle: bool = True,
    polarization: float | None = None,
    normalization: Literal["ratio", "mean"] = "ratio",
    errors: Literal["poisson", "azimuthal"] | None = None,
    variance: xr.DataArray | ArrayLike | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    dummy: float | None = None,
    delta_dummy: float = 0.0,
    sigma_clip: float | None = None,
    max_iterations: int = 5,
) -> xr.Dataset:
    """Average every frame over rings, or over rings and sectors.

    Parameters
    ----------
    da : DataArray (..., [module,] slow_scan, fast_scan)
        Frames with the coordinates of `geometry.locate`. NaN pixels are left out, frame
        by frame.
    q_bins : int or sequence of float
        Number of equal bins, or their edges, in the unit of the axis; the last edge is
        inclusive.
    phi_bins : int or sequence of float, optional
        Also sort by azimuth: equal sectors of the full circle from -pi, or edges in
        rad, which may run across pi.
    unit : {"q", "two_theta"}
        Axis: 1/angstrom, or rad.
    q_range : (lowest, highest), optional
        What an int of `q_bins` spans. By default all pixels of the geometry, whatever
        is bad or missing.
    split : {"no", "bbox", "full"}
        A pixel belongs to the bin of its centre; or is shared out evenly over the range
        from its centre to the corner farthest in radius (and in azimuth); or by the
        area of its outline.
    solid_angle : bool
        Correct for the solid angle of the pixels.
    polarization : float, optional
        Correct for a beam polarized along x (1), along y (-1), or not at all (0). None:
        no correction.
    normalization : {"ratio", "mean"}
        Divide the sum of signals by the sum of corrections, or average
        signal / correction.
    errors : {"poisson", "azimuthal"}, optional
        Variance of a pixel: its signal, which is then in photons of one shot, and of a
        bin that of one photon at least; or the spread in its bin.
    variance : DataArray, array or number, optional
        Variance of the signal of each pixel, in its units squared: on pixel dims, frame
        dims or both, matched by labels where both have them; or one number for all. For
        a mean of images say ``variance=stats["sem"] ** 2``, from `ops.statistics`. Wins
        over "poisson"; NaN: not known, and so is `sigma` of the bin.
    bad_pixels : DataArray or array, optional
        Non-zero: pixel is left out. On pixel dims, or with frame dims as well; matched
        by labels such as module numbers where both have them.
    dummy, delta_dummy : float, optional
        Pixels with this value, or no farther from it than `delta_dummy`, are left out,
        frame by frame.
    sigma_clip : float, optional
        Leave out pixels farther than so many standard deviations from the mean of their
        bin (of signal / correction), frame by frame; again until none is left.
    max_iterations : int
        Passes of `sigma_clip` at most.

    Returns
    -------
    Dataset
        On (..., [phi,] q), lazy: `intensity`; `sigma`, its standard error, if `errors`
        or `variance` is given (NaN for one pixel and "azimuthal": it has no spread);
        `count` of pixels (sum of shares if split); `norm`, what the sum of signals was
        divided by: the sum of corrections ("ratio"), or the count ("mean"). A bin
        without pixels holds NaN and count 0.

    Raises
    ------
    MissingConstantError
        If a coordinate is missing: no `locate`, or no photon energy.
    GeometryMismatchError
        If `bad_pixels` or `variance` has dims, labels or lengths that do not fit.
    ValueError
        If an option does not exist, or a variance is negative.

    Notes
    -----
    I = sum c S / sum c N over the pixels of a bin, with signal S, share c and
    N = solid angle * polarization factor; pyFAI's next-generation formula
    (doi:10.1107/S1600576715004306). sigma = sqrt(sum c^2 var) / sum c N. The spread in
    a bin counts from the mean of the same pixels and is divided by n - 1, not n (see
    `xfelred.kernels.azimuthal.integrate.unbiased_spread` for unequal ones).
    """
    known = None if variance is None else pixel_variance(variance, da, errors)
    check_clipping(sigma_clip, max_iterations, delta_dummy)
    axis = rings.radial_axis(da, unit, split)
    edges = rings.radial_edges(axis, q_bins, q_range)
    phi_edges = None if phi_bins is None else rings.azimuth_edges(phi_bins)
    factor = rings.correction(da, axis, solid_angle, polarization)
    bad = None if bad_pixels is None else on_pixels(bad_pixels, da, axis.dims)
    maps, masks = ring_maps(da, axis, (edges, phi_edges), factor, bad)
    masks = [*unrecorded(da), *masks]
    sizes: dict[str, int] = {unit: len(edges) - 1}
    if phi_edges is not None:
        sizes = {PHI: len(phi_edges) - 1, **sizes}
    setup = azimuthal.Integration(
        tuple(sizes.values()),
        mean=normalization == "mean",
        errors=errors or "" if known is None else "given",
        n_masks=len(masks),
        dummy=np.nan if dummy is None else float(dummy),
        delta_dummy=float(delta_dummy),
        clip=float(sigma_clip or 0.0),
        clip_repeats=max_iterations,
    )
    companions = [*maps, *masks]
    # The variance comes last, where the kernel looks for it.
    companions += [] if known is None else [known]
    # The maps of split pixels hold for all modules together.
    whole_frames = errors == "azimuthal" or split != "no" or sigma_clip is not None
    found = integrated(da, companions, axis.dims, sizes, setup, whole=whole_frames)
    result = curves(found, da, whole_counts=split == "no")
    result = result.assign_coords(rings.edge_coords(axis, edges, phi_edges))
    return record(
        result,
        "integrate_azimuthally",
        da,
        q_bins=q_bins if isinstance(q_bins, int) else edges,
        phi_bins=phi_bins
        if phi_bins is None or isinstance(phi_bins, int)
        else phi_edges,
        unit=unit,
        q_range=q_range,
        split=split,
        solid_angle=solid_angle,
        polarization=polarization,
        normalization=normalization,
        errors=errors,
        variance=float(variance) if isinstance(variance, (int, float)) else known,
        bad_pixels=bad,
        dummy=dummy,
        delta_dummy=delta_dummy,
        sigma_clip=sigma_clip,
        max_iterations=max_iterations,
    )


def ring_maps(
    da: xr.DataArray,
    axis: rings.Axis,
    edges: tuple[Floats, Floats | None],
    factor: Floats,
    bad: xr.DataArray | None,
) -> tuple[list[xr.DataArray], list[xr.DataArray]]:
    """Return what the kernel is to know of all pixels, and masks of some frames.

    edges: of the rings, and of sectors. factor: correction of each pixel; 0: in no bin.
    """
    good, masks = factor > 0, []
    if bad is not None and bad.chunks is None and set(bad.dims) <= set(axis.dims):
        pixels = xr.DataArray(good, dims=axis.dims)
        # In no bin for any frame, which costs nothing when frames are integrated.
        good &= (bad.broadcast_like(pixels).transpose(*axis.dims) == 0).values
    elif bad is not None:
        masks.append(bad)
    maps = [factor, *rings.bin_maps(da, axis, *edges, good)]
    return [xr.DataArray(m, dims=axis.dims) for m in maps], masks


def integrated(
    da: xr.DataArray,
    companions: list[xr.DataArray],
    dims: tuple[str, ...],
    sizes: dict[str, int],
    setup: azimuthal.Integration,
    *,
    whole: bool = False,
) -> dict[str, xr.DataArray]:
    """Return the quantities; `whole`: the kernel needs all pixels of a frame.

    Otherwise sums over parts of the pixels, such as modules, are added.
    """
    names = ("intensity", "count", "norm", *(("sigma",) if setup.errors else ()))
    if not whole:
        return reduce_frames(
            RingSums(setup),
            da,
            *companions,
            dims=dims,
            results=dict.fromkeys(names, np.float64),
            new_dims=sizes,
        )
    packed = map_frames(
        azimuthal.integrate_azimuthally,
        da,
        *companions,
        core_dims=dims,
        out_core={QUANTITY: len(names), **sizes},
        dtype=np.float64,
        n_core=len(dims),
        rings=setup,
    )
    return {name: packed.isel({QUANTITY: i}) for i, name in enumerate(names)}


def pixel_variance(
    variance: xr.DataArray | ArrayLike, da: xr.DataArray, errors: str | None
) -> xr.DataArray:
    """Return the variance of pixels, without coordinates, on dims of the data."""
    if errors == "azimuthal":
        raise ArgumentError(
            "variance= and errors='azimuthal' both say what the errors are; give one"
        )
    if np.ndim(variance) == 0:
        pixels = [d for d in PIXEL_DIMS if d in da.dims]
        ones = np.ones([da.sizes[d] for d in pixels])
        variance = xr.DataArray(ones * float(np.asarray(variance)), dims=pixels)
    known = on_frames(variance, da, "variance")
    if known.dtype.kind not in "iuf":
        raise ArgumentError(f"variance has dtype {known.dtype}; wanted numbers")
    if known.chunks is None and bool((known < 0).any()):
        raise ArgumentError(
            f"variance is negative, down to {float(known.min()):g}; it is the square of"
            " the standard error of a pixel"
        )
    return known


def check_clipping(
    sigma_clip: float | None, max_iterations: int, delta_dummy: float
) -> None:
    if sigma_clip is not None and not sigma_clip > 0:
        raise ArgumentError(f"sigma_clip={sigma_clip}; wanted more than 0, or None")
    if max_iterations < 1:
        raise ArgumentError(f"max_iterations={max_iterations}; wanted at least 1")
    if not delta_dummy >= 0:
        raise ArgumentError(f"delta_dummy={delta_dummy}; wanted 0 or more")


def curves(
    found: dict[str, xr.DataArray], da: xr.DataArray, whole_counts: bool
) -> xr.Dataset:
    units = str(da.attrs.get(UNITS, "1"))
    labels = {
        "intensity": (units, "intensity averaged over the bin"),
        "count": ("1", "number of pixels in the bin"),
        "norm": ("1", "sum of solid angle and polarization factors in the bin"),
        "sigma": (units, "standard error of the intensity"),
    }
    if whole_counts:
        found = {**found, "count": found["count"].astype(np.int64)}
    return variables(da, **{k: (v, *labels[k]) for k, v in found.items()})
