"""Arrays of pixel positions and module numbers: bring them to one form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.errors import GeometryMismatchError
from xfelred.geometry.panels import Panel, Vector, vector
from xfelred.kernels.arrays import Floats
from xfelred.names import MODULE, PIXEL_DIMS

Values = ArrayLike | xr.DataArray


def as_numbers(modules: Iterable[int] | None) -> tuple[int, ...] | None:
    return None if modules is None else tuple(int(m) for m in np.asarray(list(modules)))


def numbers_of(values: object) -> tuple[int, ...] | None:
    """Return the `module` coordinate of an array, if it has one."""
    if isinstance(values, xr.DataArray) and MODULE in values.coords:
        return as_numbers(np.atleast_1d(values[MODULE].values))
    return None


def stacked(x: Values, y: Values, z: Values) -> NDArray[np.floating]:
    """Return positions as one array (3, module, slow, fast).

    Raises GeometryMismatchError if one is no numbers, is NaN everywhere, or they do not
        fit each other.
    """
    arrays = []
    for name, values in (("x", x), ("y", y), ("z", z)):
        check_positions(name, values)
        if isinstance(values, xr.DataArray):
            values = values.transpose(*(d for d in PIXEL_DIMS if d in values.dims))
        arrays.append(np.asarray(values))
    try:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
    except ValueError:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise GeometryMismatchError(
            f"x, y and z have shapes {shapes}, which do not fit each other"
        ) from None
    if len(shape) not in (2, 3):
        raise GeometryMismatchError(
            f"positions have shape {shape}; wanted (slow, fast) or (module, slow, fast)"
        )
    dtype = np.result_type(np.float32, *(a.dtype for a in arrays))
    return np.stack(
        [np.broadcast_to(a, shape).reshape((1, *shape)[-3:]) for a in arrays]
    ).astype(dtype)


def check_positions(name: str, values: Values) -> None:
    """Raise GeometryMismatchError unless there are positions along an axis."""
    array = np.asarray(np.nan if isinstance(values, xr.Dataset) else values)
    if array.dtype.kind not in "iuf" or isinstance(values, xr.Dataset):
        found = "None" if values is None else f"{type(values).__name__} {array.dtype}"
        raise GeometryMismatchError(
            f"{name} is {found}; wanted the positions of the pixels in metres"
            f"{', or one number for all of them' if name == 'z' else ''}"
        )
    if array.size and not np.isfinite(array).any():
        raise GeometryMismatchError(
            f"{name} has no finite position among {array.size}; where the pixels are is"
            " not known"
        )


def tilted(
    xyz: NDArray[np.floating],
    centre: tuple[float, float],
    distance: float,
    tilt: tuple[float, float],
) -> tuple[Floats, Vector]:
    """Return positions from the sample, and the normal of a tilted detector.

    xyz: float (3, module, slow, fast), m; psana coordinates.
    centre: (x, y), m.
    distance: float, m; of the mean z.
    tilt: (tx, ty), rad.

    smalldata_tools' azimuthal binning: pixels lie at d = distance + mean(z) - z; the
    beam points along (-sin ty cos tx, -sin tx, cos ty cos tx) and hits the plane of the
    pixel at (xc + d tan ty, yc - d tan tx) as seen from the sample.
    """
    x, y, z = np.asarray(xyz, dtype=np.float64)
    tx, ty = tilt
    d = distance + z.mean() - z
    seen = np.stack(
        [x - centre[0] - d * math.tan(ty), y - centre[1] + d * math.tan(tx), d]
    )
    beam = np.array(
        [
            -math.sin(ty) * math.cos(tx),
            -math.sin(tx),
            math.cos(ty) * math.cos(tx),
        ]
    )
    up = np.array([0.0, 1.0, 0.0]) - beam[1] * beam
    up /= np.linalg.norm(up)
    axes = np.stack([np.cross(up, beam), up, beam])
    return np.tensordot(axes, seen, axes=1), vector(axes[:, 2])


def selected(panels: Sequence[Panel], order: Sequence[int]) -> tuple[Panel, ...]:
    """Return the panels of the modules at positions `order`, renumbered."""
    by_module: dict[int, list[Panel]] = {}
    for panel in panels:
        by_module.setdefault(panel.module, []).append(panel)
    return tuple(
        replace(panel, module=new)
        for new, old in enumerate(order)
        for panel in by_module.get(old, [])
    )


def cut(panels: Sequence[Panel], rows: int) -> tuple[Panel, ...]:
    """Cut one glued module into modules of `rows` rows along slow_scan."""
    out = []
    for panel in panels:
        start, stop = panel.slow
        for module in range(start // rows, (stop - 1) // rows + 1):
            low, high = max(start, module * rows), min(stop, (module + 1) * rows)
            step = low - start
            corner = vector(
                c + step * s for c, s in zip(panel.corner, panel.slow_step, strict=True)
            )
            slow = low - module * rows, high - module * rows
            out.append(replace(panel, module=module, slow=slow, corner=corner))
    return tuple(out)
