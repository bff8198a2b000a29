"""The part of `xfelred demo` that correlates the rings of gold crystals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops, pairs, plot, synth
from xfelred.cli.demo_session import new_directory, say
from xfelred.cli.progress import progress
from xfelred.names import PULSE, RADIUS, TRAIN

N_DARKS, SHAPE = 10, (384, 384)
CENTRE, DISTANCE_M, WAVELENGTH = (194.3, 188.8), 0.053, 1.44
Q_GOLD = 2.67  # 1/angstrom, of the {111} ring
# Rows of the polar image on both sides of the ring.
HALF_WIDTH = 4


def gold_demo(directory: Path, n_shots: int, seed: int) -> list[Path]:
    file = directory / "sacla" / "300001.h5"
    new_directory(file.parent)
    with progress(f"simulating {n_shots} shots of gold crystals"):
        synth.sacla.write_run(
            file,
            shape=SHAPE,
            n_images=N_DARKS + n_shots,
            n_darks=N_DARKS,
            centre=CENTRE,
            distance=DISTANCE_M,
            wavelength=WAVELENGTH,
            seed=seed,
        )
    run = xf.open_run(file)
    say(f"run = xf.open_run({os.fspath(file)!r})")
    say("run", repr(run))
    frames = run.select_trains(run.lit).frames()
    say("frames = run.select_trains(run.lit).frames()")
    mean, ring, detector = find_ring(run, frames)
    polar, couples, found = correlate(frames, ring, detector)
    product, figure = directory / "gold.h5", directory / "gold.png"
    say(
        f"xf.write_polar({os.fspath(product)!r}, polar, ring=ring, geometry=detector,"
        " pairs=couples, correlation=found, overwrite=True)"
    )
    with progress(f"writing {product.name}"):
        xf.write_polar(
            product,
            polar,
            ring=ring,
            geometry=detector,
            pairs=couples,
            correlation=found,
            overwrite=True,
        )
    draw(mean, ring, polar, found, figure)
    return [file, product, figure]


def find_ring(
    run: object, frames: xr.DataArray
) -> tuple[xr.DataArray, ops.RingFit, geometry.Geometry]:
    """Return the mean image, its ring, and the geometry with the centre of that."""
    say("mean = ops.statistics(frames, dim=('train', 'pulse'))['mean'].isel(module=0)")
    with progress("averaging the shots"):
        mean = ops.statistics(frames, dim=(TRAIN, PULSE))["mean"].isel(module=0)
        mean = mean.compute()
    ring = cast(ops.RingFit, ops.fit_ring(mean))  # one image gives one ring
    say("ring = ops.fit_ring(mean)")
    say("ring", ring)
    detector = geometry.Geometry.sacla(
        run, distance=DISTANCE_M, centre=(ring.x, ring.y)
    )
    say(
        f"detector = geometry.Geometry.sacla(run, distance={DISTANCE_M},"
        " centre=(ring.x, ring.y))"
    )
    return mean, ring, detector


def correlate(
    frames: xr.DataArray, ring: ops.RingFit, detector: geometry.Geometry
) -> tuple[xr.DataArray, xr.DataArray, xr.Dataset]:
    """Return the polar images, the pairs, and the correlation of their differences."""
    polar = ops.remap_polar(
        geometry.locate(frames, detector),
        centre=(ring.x, ring.y),
        r_min=ring.r - HALF_WIDTH,
        r_max=ring.r + HALF_WIDTH + 1,
    )
    say("frames = geometry.locate(frames, detector)")
    say(
        "polar = ops.remap_polar(frames, centre=(ring.x, ring.y),"
        f" r_min=ring.r - {HALF_WIDTH}, r_max=ring.r + {HALF_WIDTH + 1})"
    )
    rows = ops.normalize_rings(polar)
    couples = pairs.consecutive(rows.train)
    say("rows = ops.normalize_rings(polar)")
    say("couples = pairs.consecutive(rows.train)")
    say("found = ops.difference_correlation(rows, couples).compute()")
    with progress("correlating differences of shots"):
        found = ops.difference_correlation(rows, couples).compute()
    say("found['correlation'].sizes", dict(found["correlation"].sizes))
    return polar, couples, found


def expected_angles() -> list[float]:
    """Return the angles, rad, between spots of gold {111} on a curved Ewald sphere."""
    sin2 = (Q_GOLD * WAVELENGTH / (4 * np.pi)) ** 2
    # 1/3 and -1/3 are the cosines between {111} directions of a cubic lattice.
    return [float(np.arccos((c - sin2) / (1 - sin2))) for c in (1 / 3, -1 / 3)]


def draw(
    mean: xr.DataArray,
    ring: ops.RingFit,
    polar: xr.DataArray,
    found: xr.Dataset,
    path: Path,
) -> None:
    # Without pyplot, which chooses a backend for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.25))
    plot.ring(ring, plot.image(mean, figure.add_subplot(grid[:, 0]), title="mean"))
    shot = polar.isel({TRAIN: 0, PULSE: 0})
    plot.polar(shot, figure.add_subplot(grid[0, 1]), title="one shot")
    near = found.sel({RADIUS: ring.r}, method="nearest")
    plot.correlation(
        near,
        figure.add_subplot(grid[1, 1]),
        expected=expected_angles(),
        title="mean correlation of differences, gold {111}",
    )
    figure.savefig(path, dpi=110)
