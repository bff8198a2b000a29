"""Differences, ratios and sums of results that keep histories and carry errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    ConfigError,
    InconsistentDataError,
    did_you_mean,
    listing,
    no_such,
)
from xfelred.kernels.arrays import Array, Floats
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.shots import as_labelled, at_shots, in_memory

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)

MEAN, SEM, VAR, COUNT, SUM = "_mean", "_sem", "_var", "_count", "_sum"
# Results of other operations, and what holds their errors.
ERRORS = {"intensity": "sigma", "correlation": "sem"}


@entry(own=("a", "b"))
def subtract(a: Labelled, b: Labelled) -> Labelled:
    """Return a - b.

    Parameters
    ----------
    a, b : DataArray or Dataset
        With the same labels; a dim of one of them may be missing in the other. Of
        cubes the means are subtracted.

    Returns
    -------
    DataArray or Dataset
        Same unit. Of a cube ``<v>_mean`` and ``<v>_sem``, of an azimuthal curve
        ``intensity`` and ``sigma``, of a correlation ``correlation`` and ``sem``: the
        errors, where `a` and `b` have them, are those of independent values, sigma^2 =
        sigma_a^2 + sigma_b^2.

    Raises
    ------
    InconsistentDataError
        If labels or units differ.
    ConfigError
        If Datasets have no values in common.
    """
    return combined("subtract", a, b)


@entry(own=("a", "b"))
def ratio(a: Labelled, b: Labelled) -> Labelled:
    """Return a / b, NaN where b is 0.

    Parameters
    ----------
    a, b : DataArray or Dataset
        As in `subtract`.

    Returns
    -------
    DataArray or Dataset
        Errors as in `subtract`, with (sigma / r)^2 = (sigma_a / a)^2 + (sigma_b / b)^2
        for r = a / b.

    Raises
    ------
    InconsistentDataError
        If labels differ.
    ConfigError
        If Datasets have no values in common.
    """
    return combined("ratio", a, b)


def combined(op: str, a: Labelled, b: Labelled) -> Labelled:
    if isinstance(a, xr.DataArray) and isinstance(b, xr.DataArray):
        a, b = aligned(a, b)
        out = named(op, value_of(op, a, b), a, b)
        return record(out, op, a, b)
    if not (isinstance(a, xr.Dataset) and isinstance(b, xr.Dataset)):
        raise ArgumentTypeError(f"{op} takes two DataArrays or two Datasets")
    names = [n for n in value_names(a) if n in value_names(b)]
    if not names:
        raise ConfigError(
            f"nothing to {op}: {listing(value_names(a))} against"
            f" {listing(value_names(b))}"
        )
    found: dict[str, xr.DataArray] = {}
    for name in names:
        left, right = aligned(a[name], b[name])
        value = value_of(op, left, right)
        found[name] = named(op, value, left, right)
        one, two = error_of(a, name), error_of(b, name)
        if one is not None and two is not None:
            unit = found[name].attrs[UNITS]
            sigma = propagated(op, value, left, right, one, two)
            sigma.attrs = {UNITS: unit, LONG_NAME: f"standard error of {name}"}
            found[error_name(name)] = sigma
    both = xr.Dataset(found, a.coords, dict(a.attrs))
    return record(both, op, a, b)


def aligned(a: xr.DataArray, b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two arrays with equal labels; InconsistentDataError if they differ."""
    try:
        one, two = xr.align(a, b, join="exact")
    except ValueError as error:
        raise InconsistentDataError(
            f"{a.name or 'a'} and {b.name or 'b'} have different labels or lengths:"
            f" {error}. Select the same bins or shots of both first"
        ) from error
    # Other coordinates, such as edges, come from the first one.
    return one, two.drop_vars([c for c in two.coords if c not in two.dims])


def value_of(op: str, a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
    if op == "ratio":
        return a / b.where(b != 0)
    units = [str(v.attrs.get(UNITS, "")) for v in (a, b)]
    if all(units) and units[0] != units[1]:
        raise InconsistentDataError(
            f"cannot subtract {units[1]} from {units[0]} ({b.name} from {a.name})"
        )
    kind = np.result_type(a.dtype, b.dtype)
    # Unsigned integers would wrap around.
    wide = np.int64 if kind.kind in "bu" else kind
    return a.astype(wide) - b.astype(wide)


def named(
    op: str, value: xr.DataArray, a: xr.DataArray, b: xr.DataArray
) -> xr.DataArray:
    out = value.rename(a.name)
    out.attrs = {UNITS: "1", **a.attrs}
    ua, ub = (str(v.attrs.get(UNITS, "1")) for v in (a, b))
    if op == "ratio":
        out.attrs[UNITS] = "1" if ua == ub else ua if ub == "1" else f"{ua}/({ub})"
    word = "difference" if op == "subtract" else "ratio"
    out.attrs[LONG_NAME] = f"{word} of {a.attrs.get(LONG_NAME, a.name or 'values')}"
    return out


def value_names(ds: xr.Dataset) -> list[str]:
    """Return the variables that are values, not sums, counts or errors."""
    names = [str(n) for n in ds.data_vars]
    means = [n for n in names if n.endswith(MEAN)]
    if means:
        return means
    # What curves and correlations hold beside their values.
    helpers = {*ERRORS.values(), "count", "norm", "n_pairs", "n_shots"}
    return [n for n in names if n not in helpers]


def error_name(name: str) -> str:
    if name.endswith(MEAN):
        return name.removesuffix(MEAN) + SEM
    return ERRORS.get(name, f"{name}{SEM}")


def error_of(ds: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return the standard error of a variable, None if the Dataset does not tell."""
    if error_name(name) in ds:
        return ds[error_name(name)]
    stem = name.removesuffix(MEAN)
    if name.endswith(MEAN) and stem + VAR in ds and stem + COUNT in ds:
        var, n = ds[stem + VAR], ds[stem + COUNT]
        # Sum of squares over n (n - 1), whatever was subtracted from n before.
        free = n - 1
        sample = var * (n - int(var.attrs.get("ddof", 0)))
        return (sample / (free * n).where(free > 0)) ** 0.5
    return None


def propagated(
    op: str,
    value: xr.DataArray,
    a: xr.DataArray,
    b: xr.DataArray,
    sigma_a: xr.DataArray,
    sigma_b: xr.DataArray,
) -> xr.DataArray:
    sigma_a, sigma_b = (
        s.drop_vars([c for c in s.coords if c not in s.dims])
        for s in (sigma_a, sigma_b)
    )
    if op == "subtract":
        return (sigma_a**2 + sigma_b**2) ** 0.5
    # Written without a / a, which has no value where a is 0.
    return (sigma_a**2 + (value * sigma_b) ** 2) ** 0.5 / abs(b.where(b != 0))


@entry(own=("by",))
def normalize(da: Labelled, by: str | xr.DataArray) -> Labelled:
    """Divide frames, or the means of a cube, by a per-shot value.

    Parameters
    ----------
    da : DataArray (train[, pulse], ...) or Dataset
        Frames or other values of shots; or a cube.
    by : str or DataArray
        Frames: a coordinate on their shots, or an array on train (and pulse), joined by
        ID. A cube: the name of a binned variable such as "ipm2__sum".

    Returns
    -------
    DataArray or Dataset
        Frames: float of at least 32 bits, NaN where the divisor is 0, NaN or absent.
        A cube: ``<v>_mean`` divided by the mean of `by` in the same bin, which is the
        ratio of the sums, and ``<v>_sem`` as in `ratio`.

    Raises
    ------
    ConfigError
        If the name is unknown.
    ValueError
        If values do not fit the shots.
    """
    if isinstance(da, xr.Dataset):
        return normalized_cube(da, by)
    if isinstance(by, str):
        if by not in da.coords:
            raise ConfigError(
                no_such("coordinate", by, map(str, da.coords), " to normalize by")
                + "; a DataArray on train will do too"
            )
        divisor = da[by]
    else:
        divisor = as_labelled(by, "the divisor")
    name = f"the divisor {divisor.name or ''}".strip()
    mine = at_shots(in_memory(divisor), da, name, own=isinstance(by, str))
    kind = np.result_type(da.dtype.newbyteorder("="), np.float32)
    out = map_frames(divided, da, mine.astype(np.float64), dtype=kind)
    out.attrs = dict(da.attrs)
    ua, ub = str(da.attrs.get(UNITS, "1")), str(divisor.attrs.get(UNITS, "1"))
    out.attrs[UNITS] = ua if ub == "1" else f"{ua}/({ub})"
    return record(out, "normalize", da, divisor, by=str(divisor.name))


def divided(x: Array, by: Floats) -> Array:
    kind = np.result_type(x.dtype, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(by != 0, 1.0 / by, np.nan).astype(kind)
    out: Array = x * factor
    return out


def normalized_cube(ds: xr.Dataset, by: str | xr.DataArray) -> xr.Dataset:
    # Scalars have a slash in their names, variables of cubes two underscores.
    name = f"{by}".replace("/", "__")
    if name + MEAN not in ds:
        name = name.removesuffix(SUM).removesuffix(MEAN)
    if not isinstance(by, str) or name + MEAN not in ds:
        stems = [n.removesuffix(MEAN) for n in value_names(ds)]
        near = did_you_mean(name, stems) if isinstance(by, str) else ""
        raise ConfigError(
            f"no variable {by!r} in the cube to normalize by.{near} There are:"
            f" {listing(stems)}"
        )
    # What was binned by, such as the delay, is no signal.
    kept = {name + MEAN, *(f"{d}{MEAN}" for d in ds.dims)}
    others = [n for n in value_names(ds) if n not in kept and n.endswith(MEAN)]
    divisor = xr.Dataset(dict.fromkeys(others, ds[name + MEAN]))
    error = error_of(ds, name + MEAN)
    if error is not None:
        divisor = divisor.assign(dict.fromkeys(map(error_name, others), error))
    return record(combined("ratio", ds, divisor), "normalize", ds, by=name)


@entry
def concat(parts: Sequence[Labelled], dim: str = TRAIN) -> Labelled:
    """Put results of several runs one after the other.

    Parameters
    ----------
    parts : sequence of DataArray or Dataset
    dim : str, optional
        Dim along which they follow each other.

    Returns
    -------
    DataArray or Dataset
        Sorted by the labels of `dim` if it has some, with the histories of all parts.

    Raises
    ------
    InconsistentDataError
        If a label occurs twice, or other labels differ.
    """
    if not parts:
        raise ArgumentError("nothing to put together: the list is empty")
    try:
        # Attributes of the first part; `record` joins the histories.
        out: Any = xr.concat(
            list(parts),
            dim,
            join="exact",
            combine_attrs="override",
            coords="minimal",
            compat="override",
        )
    except ValueError as error:
        raise InconsistentDataError(f"the parts do not fit: {error}") from error
    if dim in out.indexes:
        index = out.indexes[dim]
        if not index.is_unique:
            twice = index[index.duplicated()].unique()
            raise InconsistentDataError(f"{dim} {listing(twice)} occur twice")
        if not index.is_monotonic_increasing:
            out = out.sortby(dim)
    joined: Labelled = record(out, "concat", *parts, dim=dim)
    return joined
