"""`xfelred demo`: from simulated runs to products on disk, with the code to copy."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path

import click
import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops, plot, synth
from xfelred.cli.demo_gold import gold_demo
from xfelred.cli.demo_lcls import lcls_demo
from xfelred.cli.demo_session import new_directory, say
from xfelred.cli.progress import progress
from xfelred.cli.words import tell
from xfelred.names import PIXEL_DIMS, PULSE, TRAIN
from xfelred.small_files import writing

DETECTOR = "SPB_DET_AGIPD1M-1"
FIRST_TRAIN = 1_500_000_000
# Inner corners of the four quadrants, in pixels, as after a beam-centre fit.
QUADRANTS = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
DISTANCE_M, ENERGY_EV = 0.2, 9300.0
# A module that is broken, one that is lost half way, one that skips some trains.
BROKEN, LOST, SKIPPING = 12, 9, 3
N_BINS = 400


@dataclass(frozen=True)
class Places:
    """Where the demo writes; nothing else in the directory is touched."""

    run: Path
    image: Path
    profiles: Path
    figure: Path

    @classmethod
    def under(cls, directory: Path) -> Places:
        return cls(
            run=directory / "r0001",
            image=directory / "mean_image.zarr",
            profiles=directory / "azimuthal.nxs",
            figure=directory / "overview.png",
        )


@click.command()
@click.argument(
    "directory",
    default="xfelred-demo",
    type=click.Path(file_okay=False, path_type=Path),
)
@click.option(
    "--trains", default=16, show_default=True, type=click.IntRange(2), metavar="N",
    help="Length of the simulated run; a train is about 23 MB.",
)  # fmt: skip
@click.option(
    "--pulses", default=6, show_default=True, type=click.IntRange(2, 350), metavar="N",
    help="X-ray pulses in most trains.",
)  # fmt: skip
@click.option(
    "--shots", default=200, show_default=True, type=click.IntRange(20), metavar="N",
    help="X-ray shots of the simulated SACLA run; a shot is about 0.6 MB.",
)  # fmt: skip
@click.option(
    "--events", default=600, show_default=True, type=click.IntRange(60), metavar="N",
    help="Events of the simulated LCLS run; an event is about 0.15 MB.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="Of the random numbers.")
def demo(
    directory: Path, trains: int, pulses: int, shots: int, events: int, seed: int
) -> None:
    """Simulate runs, analyse them, and write the results to DIRECTORY.

    A run of an AGIPD detector is averaged and integrated around the beam; a run with
    gold crystals at SACLA is taken to its angular correlation; a pump-probe run at LCLS
    is calibrated and binned into a cube with a report.
    """
    places = Places.under(directory)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    panels = geometry.Geometry.from_quad_positions(
        "AGIPD1M", QUADRANTS, distance=DISTANCE_M, energy=ENERGY_EV
    )
    with progress(f"simulating {trains} trains of {DETECTOR}"):
        simulate(places.run, panels, trains, pulses, seed)
    frames = open_frames(places.run)
    located = show_geometry(frames, panels)
    profiles = write_products(located, places)
    draw(located, profiles, panels, places)
    gold = gold_demo(directory, shots, seed)
    pumped = lcls_demo(directory, events, seed)
    tell()
    tell("The results are here:")
    for path in (*astuple(places), *gold, *pumped):
        tell(f"  {path}")


def simulate(
    directory: Path, panels: geometry.Geometry, n_trains: int, n_pulses: int, seed: int
) -> None:
    """Write a run with ragged trains, gaps and hot pixels; replace only an own one."""
    trains = range(FIRST_TRAIN, FIRST_TRAIN + n_trains)
    few = max(1, n_pulses // 2)
    # Every fifth train is shorter: users must see that trains may be ragged.
    kept = [n_pulses if n % 5 else few for n in range(1, n_trains + 1)]
    skipped = trains[n_trains // 6 : n_trains // 3]
    new_directory(directory)
    synth.euxfel.write_run(
        directory,
        detector=DETECTOR,
        modules=[m for m in range(16) if m != BROKEN],
        n_trains=n_trains,
        first_train=FIRST_TRAIN,
        # Every fourth slot of the 4.5 MHz pulse pattern.
        pulses=[list(range(0, 4 * n, 4)) for n in kept],
        missing=[(SKIPPING, t) for t in skipped]
        + [(LOST, t) for t in trains[n_trains // 2 :]],
        positions=np.moveaxis(panels.centres, 0, -1),
        bad_pixels=0.002,
        noise=3.0,
        jitter=0.2,
        seed=seed,
    )


def open_frames(directory: Path) -> xr.DataArray:
    run = xf.open_run(directory)
    say("import xarray as xr, xfelred as xf")
    say("from xfelred import geometry, ops, pairs")
    say(f"run = xf.open_run({os.fspath(directory)!r})")
    say("run", repr(run))
    frames: xr.DataArray = run.frames()
    say("frames = run.frames()")
    say("frames", repr(frames))
    return frames


def show_geometry(frames: xr.DataArray, panels: geometry.Geometry) -> xr.DataArray:
    located = geometry.locate(frames, panels)
    say(
        "panels = geometry.Geometry.from_quad_positions('AGIPD1M', "
        f"{QUADRANTS}, distance={DISTANCE_M}, energy={ENERGY_EV})"
    )
    say("frames = geometry.locate(frames, panels)")
    low, high = float(located.q.min()), float(located.q.max())
    say("frames.q", f"{low:.3f} to {high:.3f} 1/angstrom on {located.q.dims}")
    return located


def show_pulses(frames: xr.DataArray) -> xr.Dataset:
    brightness = ops.statistics(frames, PIXEL_DIMS, which=("mean",))["mean"]
    pulses = ops.statistics(brightness, TRAIN, which=("mean", "std", "sem", "count"))
    say("brightness = ops.statistics(frames, ['module', 'slow_scan', 'fast_scan'])")
    say("pulses = ops.statistics(brightness['mean'], 'train').compute()")
    with progress("averaging each pulse"):
        pulses = pulses.compute()
    say("pulses['mean'].values.round(2)", pulses["mean"].values.round(2))
    return pulses


def write_products(frames: xr.DataArray, places: Places) -> xr.Dataset:
    """Reduce the run in two ways, each in one pass; return the profiles."""
    image = ops.statistics(frames, dim=(TRAIN, PULSE))
    say("image = ops.statistics(frames, dim=('train', 'pulse'))")
    say(f"xf.write(image, {os.fspath(places.image)!r}, overwrite=True)")
    with progress(f"writing {places.image.name}"):
        xf.write(image, places.image, overwrite=True)
    profiles = ops.integrate_azimuthally(frames, N_BINS)
    say(f"profiles = ops.integrate_azimuthally(frames, {N_BINS}).compute()")
    with progress("integrating every frame"):
        profiles = profiles.compute()
    say(f"xf.write(profiles, {os.fspath(places.profiles)!r}, overwrite=True)")
    xf.write(profiles, places.profiles, overwrite=True)
    return profiles


def draw(
    frames: xr.DataArray,
    profiles: xr.Dataset,
    panels: geometry.Geometry,
    places: Places,
) -> None:
    # Without pyplot, which chooses a backend for a screen.
    from matplotlib.figure import Figure

    with xr.open_zarr(places.image) as stored:
        picture = ops.assemble(stored["mean"], panels).compute()
    mean_profile = ops.statistics(
        profiles["intensity"], (TRAIN, PULSE), which=("mean", "sem")
    )
    pulses = show_pulses(frames)
    figure = plot.overview(
        picture,
        mean_profile.rename(mean="intensity", sem="sigma"),
        pulses,
        frames,
        title=f"{DETECTOR}, simulated",
        figure=Figure(),
    )
    figure.savefig(places.figure, dpi=110)
