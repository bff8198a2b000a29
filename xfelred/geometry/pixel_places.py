"""Where the pixels of a detector are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import GeometryMismatchError, MissingConstantError, listing
from xfelred.geometry.energy import HC
from xfelred.geometry.panels import Panel, Shape, Vector, find_panels, panel_positions
from xfelred.geometry.pixels import as_numbers, cut, selected
from xfelred.geometry.poni import Poni
from xfelred.kernels.arrays import Bools
from xfelred.names import BAD_PIXELS, MODULE, PIXEL_DIMS

POSITION_AXES = "as in the positions that were given; z along the beam"
PHI_CONVENTION = "phi = atan2(y, x), from x towards y"


@entry
@dataclass(frozen=True, eq=False, repr=False)
class PixelPlaces:
    """Positions of the pixels of a detector, in metres from the sample.

    Its fields are described at `xfelred.geometry.Geometry`.
    """

    shape: Shape | None
    panels: tuple[Panel, ...] = ()
    positions: NDArray[np.floating] | None = None
    modules: tuple[int, ...] | None = None
    energy: float | None = None
    distance: float | None = None
    placed: bool = True
    normal: Vector | None = None
    incidence: NDArray[np.floating] | None = None
    bad: Bools | None = None
    handedness: str = POSITION_AXES
    phi_convention: str = PHI_CONVENTION
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    poni: Poni | None = None

    def __post_init__(self) -> None:
        if self.positions is not None:
            # One memory order, so that equal geometries have equal tokens.
            positions = np.ascontiguousarray(self.positions)
            object.__setattr__(self, "positions", positions)
        if self.modules is None or self.shape is None:
            return
        if (
            len({*self.modules}) != len(self.modules)
            or len(self.modules) != self.shape[0]
        ):
            raise GeometryMismatchError(
                f"modules={listing(self.modules, 20)} must name the {self.shape[0]}"
                " modules of the geometry, each once"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed on demand."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return what identifies the geometry: its class and its fields."""
        return (
            type(self).__name__,
            *(tokenize(v) for v in self.__getstate__().values()),
        )

    def __repr__(self) -> str:
        """Return one line: shape, modules, distance, energy."""
        shape = "any shape" if self.shape is None else "x".join(map(str, self.shape))
        numbers = f", modules {listing(self.modules, 20)}" if self.modules else ""
        distance = "unknown" if self.distance is None else f"{self.distance:g} m"
        energy = "unknown" if self.energy is None else f"{self.energy:g} eV"
        return f"<Geometry {shape}{numbers}, distance {distance}, energy {energy}>"

    @property
    def wavelength(self) -> float | None:
        """Wavelength of the photons in angstrom."""
        return None if self.energy is None else HC / self.energy

    @cached_property
    def centres(self) -> NDArray[np.floating]:
        """Pixel centres, (3, module, slow_scan, fast_scan), m; NaN: no pixel."""
        if self.positions is not None:
            return self.positions
        return panel_positions(self.panels, self.known_shape)

    @property
    def x(self) -> NDArray[np.floating]:
        """Pixel centres along x, (module, slow_scan, fast_scan), m."""
        return np.asarray(self.centres[0])

    @property
    def y(self) -> NDArray[np.floating]:
        """Pixel centres along y, (module, slow_scan, fast_scan), m."""
        return np.asarray(self.centres[1])

    @property
    def z(self) -> NDArray[np.floating]:
        """Pixel centres along the beam, (module, slow_scan, fast_scan), m."""
        return np.asarray(self.centres[2])

    @cached_property
    def lattice(self) -> tuple[Panel, ...]:
        """Panels, found in the positions if need be; empty where they are irregular."""
        if self.panels or self.positions is None:
            return self.panels
        return find_panels(self.positions)

    @property
    def known_shape(self) -> Shape:
        """Shape, or the error that says how to give it."""
        if self.shape is None:
            raise MissingConstantError(
                "the PONI file does not hold the number of pixels; give it:"
                " Geometry.from_poni(path, shape=(slow, fast))"
            )
        return self.shape

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """Pixel size (slow, fast) of the first panel in metres; None: irregular."""
        for panel in self.lattice[:1]:
            return (
                float(np.linalg.norm(panel.slow_step)),
                float(np.linalg.norm(panel.fast_step)),
            )
        return None

    @property
    def bad_pixels(self) -> xr.DataArray:
        """Bool (module, slow_scan, fast_scan), True where a pixel is bad or absent."""
        bad = np.isnan(self.x) if self.bad is None else self.bad
        coords = {} if self.modules is None else {MODULE: list(self.modules)}
        attrs = {"units": "1", "long_name": "bad pixels of the geometry"}
        return xr.DataArray(bad, coords, PIXEL_DIMS, name=BAD_PIXELS, attrs=attrs)

    @entry
    def select_modules(self, modules: int | Iterable[int]) -> Self:
        """Return the geometry of some modules, in the order given.

        Parameters
        ----------
        modules : int or iterable of int
            Hardware numbers; positions, counted from 0, where modules have no numbers.
        """
        wanted = as_numbers([modules] if isinstance(modules, int) else modules) or ()
        numbers = self.modules or tuple(range(self.known_shape[0]))
        unknown = [m for m in wanted if m not in numbers]
        if unknown or not wanted:
            raise GeometryMismatchError(
                f"modules {listing(unknown, 20)} are not in the geometry, which has"
                f" modules {listing(numbers, 20)}"
            )
        order = [numbers.index(m) for m in wanted]
        return replace(
            self,
            shape=(len(order), *self.known_shape[1:]),
            panels=selected(self.panels, order),
            positions=None if self.positions is None else self.positions[:, order],
            modules=None if self.modules is None else wanted,
            incidence=None if self.incidence is None else self.incidence[order],
            bad=None if self.bad is None else self.bad[order],
        )

    @entry
    def numbered(self, modules: tuple[int, ...]) -> Self:
        """Return the geometry with hardware numbers for its modules.

        Modules that are stacked along slow_scan are taken apart.

        Raises
        ------
        GeometryMismatchError
            If there are more or fewer modules, or a panel would be cut.
        """
        n_modules, n_slow, n_fast = self.known_shape
        n = len(modules)
        if n_modules == 1 < n and n_slow % n == 0:
            rows = n_slow // n
            crossing = [
                panel.name or f"rows {panel.slow[0]} to {panel.slow[1] - 1}"
                for panel in self.panels
                if panel.slow[0] // rows != (panel.slow[1] - 1) // rows
            ]
            if not crossing:
                apart = self.with_shape((n, rows, n_fast))
                return replace(apart, modules=modules)
            raise GeometryMismatchError(
                f"modules={listing(modules, 20)} would cut the {n_slow} rows of the"
                f" geometry into {n} of {rows}, through panels {listing(crossing)}"
            )
        return replace(self, modules=modules)

    @entry
    def with_shape(self, shape: Shape) -> Self:
        """Return the same pixels as an array of `shape`.

        Fills in the shape of a PONI file, and takes apart modules that are glued along
        slow_scan.
        """
        if self.shape == shape:
            return self
        if self.shape is None and self.poni is not None and shape[0] == 1:
            panels = (self.poni.panel(shape[1:]),)
            bad = self.poni.bad(shape[1:])
            return replace(self, shape=shape, panels=panels, bad=bad)
        here = self.known_shape
        glued = here[0] == 1 and here[1] == shape[0] * shape[1] and here[2] == shape[2]
        if not glued:
            raise GeometryMismatchError(
                f"the geometry has {size(here)}, which cannot be arranged as"
                f" {size(shape)}"
            )
        return replace(
            self,
            shape=shape,
            modules=None,
            panels=cut(self.panels, shape[1]),
            positions=None
            if self.positions is None
            else self.positions.reshape(3, *shape),
            incidence=None if self.incidence is None else self.incidence.reshape(shape),
            bad=None if self.bad is None else self.bad.reshape(shape),
        )


Places = TypeVar("Places", bound=PixelPlaces)


def size(shape: Shape) -> str:
    """Return text such as ``16 modules of 512x128``."""
    modules = "1 module" if shape[0] == 1 else f"{shape[0]} modules"
    return f"{modules} of {shape[1]}x{shape[2]}"


def check_placed(geometry: PixelPlaces, *, reference: bool = False) -> None:
    """Raise MissingConstantError unless the distance from the sample is known.

    With `reference` that of the geometry as a whole, too.
    """
    if not geometry.placed or (reference and geometry.distance is None):
        raise MissingConstantError(
            "the geometry does not know how far the detector is from the sample; give"
            " distance=<metres> where it is made"
        )
