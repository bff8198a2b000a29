"""Facts about the European XFEL's detectors and files that the simulation writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class DetectorKind:
    """What distinguishes one family of multi-module detectors from another.

    As in the facility's "Data files" documentation and in the files themselves.
    """

    name: str
    default_detector: str
    module_shape: tuple[int, int]
    n_modules: int
    pixel_size: float  # metre
    aggregator: str
    raw_source: str
    corrected_source: str
    # Length of the axis between frame and pixels in raw files; 0: there is none.
    raw_axis: int = 1
    # Bytes per train of the `detector` group; 0: only one index group, entry = train.
    detector_bytes: int = 416
    first_module: int = 0
    # Signal (photon-equivalent ADU) above which a pixel switches its gain stage.
    stage_limits: tuple[float, ...] = ()
    pedestal: float = 4000.0
    max_adu: int = 16383
    grid_columns: int = 4

    @property
    def per_pulse(self) -> bool:
        """Whether one entry of the file is one pulse (else one train)."""
        return self.detector_bytes > 0

    @property
    def group(self) -> str:
        """Index group of the pixels."""
        return "image" if self.per_pulse else "data"

    @property
    def main(self) -> str:
        """Name of the pixel dataset in its group."""
        return "data" if self.per_pulse else "adc"

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of all modules, as in the source names."""
        return tuple(range(self.first_module, self.first_module + self.n_modules))

    def source(self, detector: str, module: int, *, corrected: bool) -> str:
        """Return the source name of one module, as the facility names it now."""
        template = self.corrected_source if corrected else self.raw_source
        return template.format(detector=detector, module=module)


XTDF = "{detector}/DET/{module}CH0:xtdf"
CORRECTED = "{detector}/CORR/{module}CH0:output"
AGIPD_LIMITS = (1000.0, 20000.0)
LPD_LIMITS = (3000.0, 30000.0)

KINDS = {
    kind.name: kind
    for kind in (
        DetectorKind(
            "AGIPD1M", "SPB_DET_AGIPD1M-1", (512, 128), 16, 2e-4, "AGIPD", XTDF,
            CORRECTED, raw_axis=2, detector_bytes=5408, stage_limits=AGIPD_LIMITS,
        ),
        DetectorKind(
            "AGIPD500K", "HED_DET_AGIPD500K2G", (512, 128), 8, 2e-4, "AGIPD", XTDF,
            CORRECTED, raw_axis=2, detector_bytes=5408, stage_limits=AGIPD_LIMITS,
            grid_columns=1,
        ),
        DetectorKind(
            "LPD1M", "FXE_DET_LPD1M-1", (256, 256), 16, 5e-4, "LPD", XTDF, CORRECTED,
            stage_limits=LPD_LIMITS, pedestal=600.0, max_adu=4095,
        ),
        DetectorKind(
            "LPDSolo", "FXE_DET_LPD_SOLO", (256, 256), 1, 5e-4, "LPD", XTDF, CORRECTED,
            stage_limits=LPD_LIMITS, pedestal=600.0, max_adu=4095, grid_columns=1,
        ),
        DetectorKind(
            "DSSC1M", "SCS_DET_DSSC1M-1", (128, 512), 16, 2.2e-4, "DSSC", XTDF,
            CORRECTED, pedestal=40.0, max_adu=511, grid_columns=2,
        ),
        DetectorKind(
            "JUNGFRAU", "SPB_IRDA_JF4M", (512, 1024), 8, 7.5e-5, "JNGFR",
            "{detector}/DET/JNGFR{module:02d}:daqOutput",
            "{detector}/CORR/JNGFR{module:02d}:output", raw_axis=0, detector_bytes=0,
            first_module=1, stage_limits=(1000.0, 20000.0), pedestal=3000.0,
            grid_columns=2,
        ),
    )
}  # fmt: skip

# Corner of the first pixel of the first module of each quadrant, in pixels;
# x grows to the left looking along the beam, y upwards.
AGIPD1M_QUADRANTS = ((-525.0, 625.0), (-550.0, -10.0), (520.0, -160.0), (542.5, 475.0))
AGIPD_TILE = 64  # rows; a module has eight sensors of these
AGIPD_TILE_GAP = 2  # pixels between them, which nothing fills
AGIPD_MODULE_GAP = 29  # pixels
GRID_GAP = 10


def pixel_positions(kind: DetectorKind, distance_m: float) -> Array:
    """Return where the pixel centres of a detector are in the simulated beamline.

    Parameters
    ----------
    kind : DetectorKind
    distance_m : float
        Of the flat detector from the sample.

    Returns
    -------
    float64 (module, slow_scan, fast_scan, 3), metre
        x (left, looking along the beam), y (up) and z (along the beam), from the
        sample; the beam is at x = y = 0.

    Notes
    -----
    AGIPD-1M has four quadrants at `AGIPD1M_QUADRANTS` (pixels), with gaps of 2
    pixels between its tiles and 29 between modules. The other kinds are a plain grid
    of modules, centred on the beam, without gaps inside a module.
    """
    flat = agipd1m_plane() if kind.name == "AGIPD1M" else grid_plane(kind)
    positions = np.empty((*flat.shape[:-1], 3))
    positions[..., :2] = flat * kind.pixel_size
    positions[..., 2] = distance_m
    return positions


def agipd1m_plane() -> Array:
    """Return x and y (pixels), float64 (16, 512, 128, 2)."""
    slow = np.arange(512)
    along = slow + AGIPD_TILE_GAP * (slow // AGIPD_TILE) + 0.5
    across = np.arange(128) + 0.5
    plane = np.empty((16, 512, 128, 2))
    for module in range(16):
        quadrant, row = divmod(module, 4)
        x, y = AGIPD1M_QUADRANTS[quadrant]
        # The quadrants on the right are mounted upside down.
        sign = 1 if quadrant < 2 else -1
        plane[module, ..., 0] = (x + sign * along)[:, None]
        plane[module, ..., 1] = y - row * (128 + AGIPD_MODULE_GAP) - sign * across
    return plane


def grid_plane(kind: DetectorKind) -> Array:
    """Return x and y (pixels) of modules on a centred grid, filled row by row."""
    slow, fast = kind.module_shape
    n_rows = -(-kind.n_modules // kind.grid_columns)
    pitch = (fast + GRID_GAP, slow + GRID_GAP)
    plane = np.empty((kind.n_modules, slow, fast, 2))
    for i in range(kind.n_modules):
        row, column = divmod(i, kind.grid_columns)
        x = (column - (kind.grid_columns - 1) / 2) * pitch[0]
        y = ((n_rows - 1) / 2 - row) * pitch[1]
        plane[i, ..., 0] = x + np.arange(fast) - (fast - 1) / 2
        plane[i, ..., 1] = (y + (slow - 1) / 2 - np.arange(slow))[:, None]
    return plane
