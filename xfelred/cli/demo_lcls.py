"""The part of `xfelred demo` that calibrates an LCLS run and bins it into a cube."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops, plot, synth
from xfelred.cli.demo_session import new_directory, say
from xfelred.cli.progress import progress
from xfelred.names import LASER_ON, PULSE, TRAIN
from xfelred.readers.protocol import Run

DETECTOR = "jungfrau1M"
SHAPE, BANKS = (2, 128, 256), 4
DISTANCE_M, ENERGY_EV = 0.1, 9500.0
DELAY = "delay"
DIM = 2.0  # keV; pixels with less on average tell the common mode
SHOT = 3  # which is shown: with X-rays and laser
RECIPE = """\
schema_version: 1
kind: cube
bins:
  delay: {start: "-2 ps", stop: "4 ps", step: "500 fs"}
laser: split
filters:
  filter1: ["lightStatus/xray == 1", "500 < ipm2/sum < 60000"]
variables: [ipm2/sum]
detectors:
  jungfrau1M: {key: raw, calibrate: jungfrau, bad_pixels: apply}
quantities: [sum, count, mean, var, sem]
histograms: {ipm2/sum: null}
"""


def lcls_demo(directory: Path, n_events: int, seed: int) -> list[Path]:
    place = directory / "lcls"
    file = place / "xpptest01_Run0047.h5"
    new_directory(place)
    with progress(f"simulating {n_events} events of {DETECTOR}"):
        synth.lcls.write_smalldata(
            file,
            n_events=n_events,
            key="raw",
            shape=SHAPE,
            n_banks=BANKS,
            common_mode=0.8,
            seed=seed,
        )
    run = xf.open_run(file)
    say(f"run = xf.open_run({os.fspath(file)!r})")
    say("run", repr(run))
    raw, signal, clean = calibrate(run)
    panels = geometry.Geometry.lcls(
        *(run.constants(DETECTOR)[k] for k in "xyz"),
        centre=(0, 0),
        distance=DISTANCE_M,
        energy=ENERGY_EV,
    )
    figure = directory / "calibrated.png"
    draw_frames(raw, signal, clean, panels, figure)
    return [file, figure, *cube_of(run, place, directory, panels)]


def calibrate(run: Run) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    raw = run.frames(DETECTOR)
    signal = ops.calibrate(raw, run.constants(DETECTOR), kind="jungfrau")
    say("raw = run.frames('jungfrau1M')")
    say("signal = ops.calibrate(raw, run.constants('jungfrau1M'), kind='jungfrau')")
    mean = ops.statistics(signal, (TRAIN, PULSE), which=("mean",))["mean"]
    say("mean = ops.statistics(signal, ('train', 'pulse'))['mean'].compute()")
    with progress("averaging calibrated frames"):
        mean = mean.compute()
    segment = ops.Segment(SHAPE[1:], banks=BANKS, halves=1)
    clean = ops.subtract_common_mode(
        signal, ("row",), segment=segment, use=mean < DIM, apply_to="all"
    )
    say(
        f"clean = ops.subtract_common_mode(signal, ('row',), use=mean < {DIM},"
        f" segment=ops.Segment({SHAPE[1:]}, banks={BANKS}), apply_to='all')"
    )
    return raw, signal, clean


def draw_frames(
    raw: xr.DataArray,
    signal: xr.DataArray,
    clean: xr.DataArray,
    panels: geometry.Geometry,
    path: Path,
) -> None:
    """Draw one shot: raw codes, calibrated, without common mode."""
    # Without pyplot, which chooses a backend for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.4))
    figure.set_layout_engine("constrained", w_pad=0.15)
    axes = figure.subplots(1, 3)
    pictures = (
        (raw.astype(np.float32), "raw codes", (2500.0, 3400.0)),
        (signal, "calibrated", (-2.0, 12.0)),
        (clean, "without common mode", (-2.0, 12.0)),
    )
    for ax, (frames, title, limits) in zip(axes, pictures, strict=True):
        image = ops.assemble(frames[SHOT, 0], panels).compute()
        plot.image(image, ax, title=title, limits=limits)
    figure.savefig(path, dpi=110)


def cube_of(
    run: Run, place: Path, directory: Path, panels: geometry.Geometry
) -> list[Path]:
    recipe = place / "cube.yaml"
    recipe.write_text(RECIPE)
    say(f"made = xf.write_cube(run, {os.fspath(recipe)!r}, {os.fspath(directory)!r})")
    with progress("binning every shot by delay and laser"):
        made = xf.write_cube(run, recipe, directory, overwrite=True)
    say("made.cut_flow", *(made.cut_flow,))
    stored = next(p for p in made.paths if p.suffix == ".zarr")
    with xr.open_zarr(stored) as cube:
        cube = cube.load()
    cube = ops.normalize(cube, by="ipm2__sum")
    change = ops.subtract(
        cube.sel({LASER_ON: True}, drop=True), cube.sel({LASER_ON: False}, drop=True)
    )
    say(f"cube = xr.open_zarr({os.fspath(stored)!r}).load()")
    say("cube = ops.normalize(cube, by='ipm2__sum')")
    say(
        "change = ops.subtract(cube.sel(laser_on=True, drop=True),"
        " cube.sel(laser_on=False, drop=True))"
    )
    figure = directory / "difference.png"
    draw_difference(change, panels, figure)
    return [*made.paths, figure]


def draw_difference(change: xr.Dataset, panels: geometry.Geometry, path: Path) -> None:
    from matplotlib.figure import Figure

    mean = change[f"{DETECTOR}_mean"]
    weight = 1 / change[f"{DETECTOR}_sem"] ** 2
    # At 0.5 ps the response has risen: it does so within 0.1 ps.
    late = mean.sel({DELAY: slice(0.5, None)}).mean(DELAY)
    # How much of the late pattern there is: least squares with the errors of pixels.
    norm = (late**2 * weight).sum(late.dims)
    trace = (mean * late * weight).sum(late.dims) / norm
    figure = Figure(figsize=(12, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.15)
    left, right = figure.subplots(1, 2)
    plot.image(
        ops.assemble(late, panels).compute(),
        left,
        title="laser on - off, late delays",
        cmap="RdBu_r",
    )
    right.errorbar(trace[DELAY], trace, norm**-0.5, fmt="o-", capsize=2)
    right.axhline(0, color="0.7", zorder=0)
    right.set(xlabel="delay (ps)", ylabel="part of the late difference")
    figure.savefig(path, dpi=110)
