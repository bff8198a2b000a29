"""What a simulated SACLA run should look like."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError

Array = NDArray[Any]

DTYPES = ("float32", "int16", "uint16", "int32")
FILTERS = (None, "gzip", "shuffle+gzip")
# Size of the sensitive area, metres: smaller images have larger pixels.
ASSEMBLED_WIDTH, MODULE_HEIGHT = 0.1024, 0.0512
HC = 12398.419843320026  # eV angstrom


@dataclass(frozen=True)
class MountedModule:
    x_um: float
    y_um: float
    angle_deg: float
    gain: float


# MPCCD-8-2-001, coordinates and angles as in a file of 2014; gains are typical.
OCTAL = (
    MountedModule(-1755, 51711, -89.9062, 17.2),
    MountedModule(-1711, 24944, -89.9158, 17.0),
    MountedModule(817, -1808, -89.98, 16.8),
    MountedModule(812, -28466, -89.9293, 17.1),
    MountedModule(-792, 28544, 89.9631, 16.8761),
    MountedModule(-781, 1840, 89.8808, 16.7263),
    MountedModule(1650, -24900, 90.0, 17.0818),
    MountedModule(1655, -51626, 90.0295, 16.9),
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything about a simulated run; every field has a default.

    Shots are named by their position, from 0; shot i has the tag
    ``first_tag + i * tag_step``.

    Parameters
    ----------
    run : int
        Number of the run.
    layout : "assembled" or "modules"
        One image per tag, or one per tag and module of the octal sensor.
    shape : (slow, fast), optional
        Pixels of an image or of a module; default (512, 512) or (128, 64).
    modules : tuple of int
        Numbers, from 1 to 8, of the modules to write.
    n_images, n_events : int
        Shots with an image, and rows of the event table (default: as many). The first
        shots have images.
    n_darks : int
        Shots at the head of the run with a closed shutter.
    first_tag, tag_step : int
    pixel_size : float, optional
        Metres; by default such that the image is as wide as the real sensor.
    centre : (x, y), optional
        Where the beam hits: of an assembled image in pixels (x along fast_scan), of
        modules in metres in the detector's coordinates. Default: near the middle.
    distance, wavelength : float
        Metres and angstrom.
    q_ring, ring_width : float
        Centre and standard deviation of the ring, 1/angstrom; gold {111} is at 2.67.
    intensity : float
        Height of the ring in a shot of average intensity, adu.
    jitter : float
        Relative standard deviation of the intensity of shots (log-normal).
    background : float
        Smooth scattering at the centre, as a part of the height of the ring.
    noise : float
        Standard deviation of the readout noise, adu.
    shot_noise : float
        Variance per adu of signal.
    pedestal : float
        Added to all images, also dark ones, adu.
    n_crystals : int
        Crystallites per shot that are seen by a pair of reflections.
    cos_psi : tuple of float
        Cosines of the angles between such reflections.
    spot_width, spot_height : float
        Standard deviation along the ring in degrees; height in heights of the ring.
    energy_jitter : float
        Standard deviation of the photon energy of shots, eV.
    laser : "alternate", "on", "off" or None
        Pump laser of every other shot, all, or none; None: no such column.
    delay_ps : float
    dtype : str
        Of the images.
    compression : None, "gzip" or "shuffle+gzip"
        None: images lie in the file in one piece.
    beamline : int
    columns : mapping of str to (str or None)
        Other names for columns of the event table; None leaves one out.
    without_table : bool
        Leave out the event table.
    without_image, without_event : collection of int
        Shots that have no image, or an image and no row in the event table.
    without_data : collection of int
        Shots whose group for the image is empty.
    missing : collection of (int, int)
        (shot, module) without an image.
    odd_shape : collection of int
        Shots whose image has half of the rows.
    bad_status : collection of int
        Shots with ``detector_status`` 0.
    energies : mapping of int to float
        Photon energies that the spectrometer gave for some shots, such as NaN or 0.
    duplicates : collection of int
        Shots that stand in the event table twice.
    seed : int
    """

    run: int = 300001
    layout: Literal["assembled", "modules"] = "assembled"
    shape: tuple[int, int] | None = None
    modules: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    n_images: int = 60
    n_events: int | None = None
    n_darks: int = 10
    first_tag: int = 166762140
    tag_step: int = 2
    pixel_size: float | None = None
    centre: tuple[float, float] | None = None
    distance: float = 0.053
    wavelength: float = 1.44
    q_ring: float = 2.67
    ring_width: float = 0.02
    intensity: float = 100.0
    jitter: float = 0.3
    background: float = 0.2
    noise: float = 1.5
    shot_noise: float = 0.5
    pedestal: float = 0.0
    n_crystals: int = 12
    cos_psi: tuple[float, ...] = (1 / 3, -1 / 3)
    spot_width: float = 1.0
    spot_height: float = 0.5
    energy_jitter: float = 10.0
    laser: Literal["alternate", "on", "off"] | None = "alternate"
    delay_ps: float = 3.5
    dtype: str = "float32"
    compression: Literal["gzip", "shuffle+gzip"] | None = None
    beamline: int = 3
    columns: Mapping[str, str | None] = field(default_factory=dict)
    without_table: bool = False
    without_image: Collection[int] = ()
    without_event: Collection[int] = ()
    without_data: Collection[int] = ()
    missing: Collection[tuple[int, int]] = ()
    odd_shape: Collection[int] = ()
    bad_status: Collection[int] = ()
    energies: Mapping[int, float] = field(default_factory=dict)
    duplicates: Collection[int] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        named = {shot for shot, _ in self.missing}.union(
            *(self.without_image, self.without_event, self.without_data),
            *(self.odd_shape, self.bad_status, self.energies, self.duplicates),
        )
        unknown = sorted(s for s in named if not 0 <= s < self.n_shots)
        last = self.first_tag + self.tag_step * self.n_shots
        problems = (
            (self.dtype not in DTYPES, f"dtype={self.dtype!r}; known: {DTYPES}"),
            (
                self.compression not in FILTERS,
                f"compression={self.compression!r}; known: {FILTERS}",
            ),
            (bool(unknown), f"faults of shots {unknown}; n_shots={self.n_shots}"),
            (
                not set(self.modules) <= set(range(1, len(OCTAL) + 1)),
                f"modules={self.modules}; an octal sensor has 1 to 8",
            ),
            (
                self.tag_step < 1 or self.first_tag < 0 or last > 2**32,
                f"first_tag={self.first_tag} and tag_step={self.tag_step}; tags must"
                " increase and fit into 32 bits",
            ),
            (
                self.q_ring * self.wavelength / (4 * np.pi) >= np.sin(np.pi / 4),
                f"a ring at q={self.q_ring} does not reach a flat detector at"
                f" {self.wavelength} angstrom",
            ),
        )
        for wrong, message in problems:
            if wrong:
                raise ArgumentError(message)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Pixels (slow, fast) of an image or of a module."""
        if self.shape is not None:
            return self.shape
        return (512, 512) if self.layout == "assembled" else (128, 64)

    @property
    def pixel(self) -> float:
        """Pixel size in metres."""
        if self.pixel_size is not None:
            return self.pixel_size
        if self.layout == "assembled":
            return ASSEMBLED_WIDTH / max(self.image_shape)
        return MODULE_HEIGHT / self.image_shape[0]

    @property
    def module_numbers(self) -> tuple[int, ...]:
        """Numbers of the modules; 0 for an assembled image."""
        return (0,) if self.layout == "assembled" else self.modules

    @property
    def beam(self) -> tuple[float, float]:
        """Where the beam hits: pixels of an assembled image, else metres."""
        if self.centre is not None:
            return self.centre
        if self.layout == "modules":
            return (0.0, 0.0)
        slow, fast = self.image_shape
        return fast / 2 + 2.3, slow / 2 - 3.1

    @property
    def energy(self) -> float:
        """Mean photon energy in eV."""
        return HC / self.wavelength

    @property
    def n_shots(self) -> int:
        """Shots of the run, with or without an image."""
        return max(self.n_images, self.n_events or 0)

    @cached_property
    def tags(self) -> Array:
        """Tag of every shot, int64 (shot,)."""
        return self.first_tag + self.tag_step * np.arange(self.n_shots, dtype=np.int64)

    @property
    def half_angle(self) -> float:
        """Bragg angle of the ring in rad."""
        return float(np.arcsin(self.q_ring * self.wavelength / (4 * np.pi)))

    @property
    def radius(self) -> float:
        """Radius of the ring on a flat detector in metres."""
        return float(self.distance * np.tan(2 * self.half_angle))
