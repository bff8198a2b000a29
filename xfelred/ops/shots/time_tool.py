"""From the edge of a time tool to the delay of a shot."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, NoDataError, listing
from xfelred.kernels.arrays import Bools, Floats
from xfelred.names import LONG_NAME, UNITS
from xfelred.ops.shots.delay import FACTORS
from xfelred.ops.variables import variables
from xfelred.provenance import record
from xfelred.shots import at_shots

POWER, OTHER_POWER = "power", "other_power"
GROUPS = 20  # of shots with about the same delay, whose medians are where a fit begins
ROUNDS = 50
SIGMA_OF_MAD = 1.4826  # of a normal distribution
MAX_DEGREE = 5


@entry
def calibrate_time_tool(
    position: xr.DataArray,
    delay: xr.DataArray,
    *,
    degree: int = 2,
    n_sigma: float = 3.5,
) -> xr.Dataset:
    """Fit a polynomial that makes a delay of the position of the edge.

    Parameters
    ----------
    position : DataArray (train[, pulse]), samples
        Of `ops.find_edge`, or ``tt/FLTPOS``, in a scan of the time tool's delay. NaN is
        left out, and 0, by which LCLS says that there is no edge.
    delay : DataArray (train[, pulse])
        That was set, such as the stage; joined by labels. In ps, or in its attribute
        ``units``: s, ns, ps or fs.
    degree : int
        Of the polynomial.
    n_sigma : float
        Shots that are farther away from it, in standard deviations by the median, are
        outliers.

    Returns
    -------
    Dataset
        In memory: ``coefficients`` (power), ps per sample to the power, and their
        ``covariance`` (power, other_power). Attributes: ``resolution``, standard
        deviation of a shot in ps, ``n_shots`` that were used, ``n_outliers``,
        ``lowest`` and ``highest`` position.

    Raises
    ------
    NoDataError
        If there are too few shots, or the delay does not vary.
    ArgumentError
        If an argument makes no sense, or the arrays do not belong together.

    Notes
    -----
    The polynomial through the medians of shots in up to 20 groups of the delay; then
    least squares, without outliers, until there are no others. The arrival of each shot
    adds to the delay that was set, not to the position, so that the delay is fitted.

    Examples
    --------
    >>> ids = {"train": np.arange(300)}
    >>> position = xr.DataArray(np.arange(100.0, 400), ids, ("train",))
    >>> found = calibrate_time_tool(position, 1 - 0.004 * position, degree=1)
    >>> found["coefficients"].values.round(9)
    array([ 1.   , -0.004])
    """
    if not 1 <= degree <= MAX_DEGREE or not n_sigma > 0:
        raise ArgumentError(
            f"degree={degree}, n_sigma={n_sigma}; wanted 1 to {MAX_DEGREE}, and"
            " a number above 0"
        )
    for name, value in (("position", position), ("delay", delay)):
        if value.dtype.kind not in "iuf" or not value.ndim:
            raise ArgumentError(
                f"{name} has dtype {value.dtype} and dims {value.dims}; wanted a number"
                " for every shot"
            )
    set_ = at_shots(delay, position, "delay").broadcast_like(position)
    x = position.values.astype(np.float64).ravel()
    y = in_ps(set_).transpose(*position.dims).values.astype(np.float64).ravel()
    use = np.isfinite(x) & np.isfinite(y) & (x != 0)
    x, y = x[use], y[use]
    if len(x) < 2 * (degree + 1) or not np.ptp(y) > 0 or not np.ptp(x) > 0:
        raise NoDataError(
            f"{len(x)} shots with a position and a delay that vary are too few for a"
            f" polynomial of degree {degree}; scan the delay of the time tool"
        )
    # Powers of numbers around 0 are independent enough; they are made those of samples.
    middle, scale = float(np.median(x)), float(np.ptp(x))
    powers = np.vander((x - middle) / scale, degree + 1, increasing=True)
    found, inside = robust(powers, y, n_sigma)
    rest = y[inside] - powers[inside] @ found
    variance = float(rest @ rest) / max(inside.sum() - degree - 1, 1)
    covariance = variance * np.linalg.inv(powers[inside].T @ powers[inside])
    to_samples = in_powers_of(middle, scale, degree)
    out = xr.Dataset(
        {
            "coefficients": (POWER, to_samples @ found),
            "covariance": (
                (POWER, OTHER_POWER), to_samples @ covariance @ to_samples.T,
            ),
        },
        {POWER: np.arange(degree + 1), OTHER_POWER: np.arange(degree + 1)},
    )  # fmt: skip
    out["coefficients"].attrs = {UNITS: "ps", LONG_NAME: "of powers of the position"}
    out["covariance"].attrs = {UNITS: "ps^2", LONG_NAME: "of the coefficients"}
    out.attrs = {
        "resolution": variance**0.5,
        "n_shots": int(inside.sum()),
        "n_outliers": int((~inside).sum()),
        "lowest": float(x[inside].min()),
        "highest": float(x[inside].max()),
    }
    return record(
        out,
        "calibrate_time_tool",
        position,
        out,
        delay=delay,
        degree=degree,
        n_sigma=n_sigma,
    )


def in_ps(delay: xr.DataArray) -> xr.DataArray:
    unit = str(delay.attrs.get(UNITS, "ps"))
    if unit not in FACTORS:
        raise ArgumentError(f"delay is in {unit!r}; wanted one of {listing(FACTORS)}")
    return delay * FACTORS[unit]


def robust(powers: Floats, y: Floats, n_sigma: float) -> tuple[Floats, Bools]:
    """Return the coefficients, and which shots are no outliers."""
    order = np.argsort(y, kind="stable")
    n = powers.shape[1]
    groups = np.array_split(order, max(min(GROUPS, len(y) // 3), n))
    # Powers of a median: of the first one, which is the position.
    middle = np.array([np.median(powers[g, 1]) for g in groups])
    centre = np.array([np.median(y[g]) for g in groups])
    start = np.vander(middle, n, increasing=True)
    found = np.linalg.lstsq(start, centre, rcond=None)[0]
    inside = np.ones(len(y), bool)
    for i in range(ROUNDS):
        rest = np.abs(y - powers @ found)
        spread = SIGMA_OF_MAD * np.median(rest[inside])
        before, inside = inside, rest <= max(n_sigma * spread, 1e-12 * np.ptp(y))
        if i and np.array_equal(before, inside):
            break
        found = np.linalg.lstsq(powers[inside], y[inside], rcond=None)[0]
    return found, inside


def in_powers_of(middle: float, scale: float, degree: int) -> Floats:
    """Return the matrix from powers of (x - middle) / scale to powers of x."""
    out = np.zeros((degree + 1, degree + 1))
    one = np.polynomial.Polynomial([-middle / scale, 1 / scale])
    for k in range(degree + 1):
        terms = (one**k).coef
        out[: len(terms), k] = terms
    return out


@entry
def correct_delay(
    delay: xr.DataArray, position: xr.DataArray, calibration: xr.Dataset
) -> xr.Dataset:
    """Add the correction of the time tool to delays, with its error.

    Parameters
    ----------
    delay : DataArray (train[, pulse])
        Nominal one, such as ``ops.delay(run, use_tt=False)``: in ps, or in its
        attribute ``units``.
    position : DataArray (train[, pulse]), samples
        Of the edge, in memory or lazy; joined by labels. NaN and 0: there is none.
    calibration : Dataset
        Of `ops.calibrate_time_tool`.

    Returns
    -------
    Dataset (train[, pulse])
        float64, ps: ``delay``, nominal plus correction; ``correction``, the polynomial
        of the position; ``delay_error``: of one shot, its resolution and the error of
        the polynomial there, which grows beyond the positions of the calibration. NaN
        where there is no edge.

    Raises
    ------
    ArgumentError
        If the calibration is none, or shots do not belong together.

    Notes
    -----
    error^2 = resolution^2 + sum_jk cov_jk p^(j + k).

    Examples
    --------
    >>> ids = {"train": np.arange(300)}
    >>> position = xr.DataArray(np.arange(100.0, 400), ids, ("train",))
    >>> scale = calibrate_time_tool(position, 0.01 * position - 2, degree=1)
    >>> found = correct_delay(xr.zeros_like(position), position, scale)
    >>> round(float(found["delay"][0]), 9)
    -1.0
    """
    if not {"coefficients", "covariance"} <= set(calibration.data_vars):
        raise ArgumentError(
            "calibration: wanted a result of ops.calibrate_time_tool; got"
            f" {listing(calibration.data_vars)}"
        )
    if delay.dtype.kind not in "iuf" or position.dtype.kind not in "iuf":
        raise ArgumentError(
            f"delay has dtype {delay.dtype}, position {position.dtype}; wanted numbers"
        )
    edge = at_shots(position, delay, "position").astype(np.float64)
    edge = edge.where(edge != 0)
    resolution = float(calibration.attrs.get("resolution", 0.0))
    correction, variance = xr.zeros_like(edge), xr.zeros_like(edge) + resolution**2
    matrix = calibration["covariance"].values
    for j, c in enumerate(calibration["coefficients"].values.tolist()):
        correction = correction + c * edge**j
        for k, part in enumerate(matrix[j].tolist()):
            variance = variance + part * edge ** (j + k)
    corrected, error = in_ps(delay) + correction, variance.clip(0) ** 0.5
    out = variables(
        xr.Dataset(),
        delay=(corrected, "ps", "delay, positive: X-ray after pump"),
        correction=(correction, "ps", "correction of the time tool"),
        delay_error=(error, "ps", "standard error of the delay"),
    )
    return record(out, "correct_delay", delay, calibration, position=position)
