"""What operations hold does not grow with the run: counts, on plans alone.

At a thousand, a hundred thousand and ten million trains.
"""

from math import prod

import numpy as np
import pytest
import xarray as xr

from tests.support.long_runs import frames_like, stretched
from tests.support.public_calls import CALLS, call
from xfelred import geometry, ops
from xfelred.lazy.blocks import node_of
from xfelred.lazy.estimate import estimate, lazy_parts
from xfelred.lazy.partition import LONG_TASK, MAX_FRAME_STATE, TASK, partition
from xfelred.names import FAST, MODULE, PULSE, SLOW, TRAIN

pytestmark = pytest.mark.slow

FLAT = 1.5  # times the memory of a worker
SHORT, LONG, LONGEST = 1000, 100_000, 10_000_000
LENGTHS = [LONG, pytest.param(LONGEST, marks=pytest.mark.nightly)]
# All numbers, or all data, enter each of the results together.
TOGETHER = {
    "flag_outliers", "flag_strong_correlations", "friedel_weights", "modified_z",
}  # fmt: skip
# Tables in memory, and images that are no run.
NO_RUN = {"fit_photon_peak", "fit_ring", "find_centre", "to_table"}
OPERATIONS = sorted(
    name
    for name in CALLS
    if name.startswith("ops.") and name.removeprefix("ops.") not in NO_RUN
)


def plan_of_call(name, n_trains):
    """Return the plan of a public call for a run; None where nothing of it is lazy."""
    given = {k: stretched(v, n_trains) for k, v in CALLS[name].items()}
    if name == "ops.concat":
        one, two = given["parts"]
        given["parts"] = [one.assign_coords(train=one.train - 10**9), two]
    if name == "ops.label_by_position":
        given["values"] = np.arange(float(n_trains))
    found = call(name, given)
    found = found if isinstance(found, tuple) else (found,)
    lazy = [r for r in found if isinstance(r, (xr.DataArray, xr.Dataset))]
    return estimate(*lazy, threads=2) if list(lazy_parts(lazy)) else None


@pytest.mark.parametrize("n_trains", LENGTHS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_plan_whose_memory_is_flat(name, n_trains, no_compute):
    with no_compute():
        short, long = plan_of_call(name, SHORT), plan_of_call(name, n_trains)
    if short is None or name.removeprefix("ops.") in TOGETHER:
        return
    assert long.peak_memory_per_worker < FLAT * short.peak_memory_per_worker
    assert long.bytes_to_read / max(long.blocks, 1) < LONG_TASK
    assert long.seconds < long.tasks * LONG_TASK / long.rate


def image_run(n_trains, pulses=4, modules=4):
    """Return frames of some modules of AGIPD, some pulses each train."""
    shape = {TRAIN: 1, PULSE: pulses, MODULE: modules, SLOW: 512, FAST: 128}
    one = xr.DataArray(np.zeros(list(shape.values()), "f4"), dims=list(shape))
    frames = frames_like(one, n_trains, block=128 << 20)
    return frames.assign_coords({MODULE: range(modules), PULSE: range(pulses)})


def polar(frames):
    images = frames.isel({MODULE: 0})
    return ops.remap_polar(images, centre=(64, 256), r_min=5, r_max=60, n_phi=256)


PANELS = geometry.Geometry.from_quad_positions(
    "AGIPD1M", [(-525, 625), (-550, -10), (520, -160), (542.5, 475)], distance=0.2,
    energy=9300,
)  # fmt: skip


def azimuthal(q, phi=None, **options):
    return lambda x: ops.integrate_azimuthally(
        geometry.locate(x, PANELS), q, phi_bins=phi, **options
    )


OF_FRAMES = {
    "300 rings": azimuthal(300),
    "1000 rings": azimuthal(1000),
    "300 rings, 36 sectors": azimuthal(300, 36),
    "errors of rings": azimuthal(300, errors="azimuthal"),
    "sectors with errors": azimuthal(1000, 36, errors="azimuthal"),
    "pulses first": lambda x: azimuthal(300, 36)(x.transpose(PULSE, TRAIN, ...)),
    "modules last": lambda x: azimuthal(300, 36)(x.transpose(..., MODULE)),
    "their mean": lambda x: azimuthal(300, 36)(x).mean(TRAIN),
    "corrected first": lambda x: azimuthal(300, 36)((x - 2.0) * 3),
    "profile": lambda x: ops.radial_profile(x.isel({MODULE: 0}), (64, 256)),
    "mean of frames": lambda x: ops.statistics(x, (MODULE, SLOW, FAST)),
    "mean of trains": lambda x: ops.statistics(x, (PULSE, MODULE, SLOW, FAST)),
    "mean over pulses": lambda x: ops.statistics(x, PULSE),
    "region": lambda x: ops.roi(x, [[0, 1], [5, 25], [10, 40]]),
    "polar": polar,
    "correlations": lambda x: ops.correlate_angular(polar(x)),
    "common mode": lambda x: ops.subtract_common_mode(
        x, ("row",), segment=ops.Segment((512, 128), banks=2)
    ),
    "own function": lambda x: ops.map_frames(x, np.sqrt, dtype="f4"),
}


@pytest.mark.parametrize("n_trains", LENGTHS)
@pytest.mark.parametrize("case", OF_FRAMES)
def test_results_of_frames_have_more_tasks_in_longer_runs(case, n_trains):
    """Frames of many bins were one task of 419 GB for 100 000 trains."""
    short, long = (
        estimate(OF_FRAMES[case](image_run(n)), threads=4) for n in (SHORT, n_trains)
    )
    assert long.peak_memory_per_worker < FLAT * short.peak_memory_per_worker
    assert long.bytes_to_read == n_trains / SHORT * short.bytes_to_read
    assert long.bytes_to_read / long.blocks <= LONG_TASK
    assert long.tasks > n_trains / SHORT / 20 * short.tasks


KEPT = (TRAIN,), (TRAIN, PULSE), (TRAIN, MODULE, SLOW, FAST)


@pytest.mark.parametrize("n_trains", [SHORT, LONG, LONGEST])
@pytest.mark.parametrize("wide", [1, 300, 10_800, 1_000_000])
@pytest.mark.parametrize("kept", KEPT)
def test_what_a_task_reads_and_returns_is_bounded(n_trains, wide, kept):
    node = node_of(image_run(n_trains))
    cut = partition(node, kept, wide).chunks
    assert tuple(map(sum, cut.values())) == node.shape
    size = {d: max(c) for d, c in cut.items()}
    read = prod(size.values()) * node.dtype.itemsize
    assert read <= LONG_TASK
    # No larger tasks, of which there would be few, than a task of a short run.
    assert read <= max(TASK, prod(node.shape) * node.dtype.itemsize / 256)
    # Less than the result of one frame cannot be cut.
    state = wide * prod(size[d] for d in kept)
    assert (
        state <= MAX_FRAME_STATE or size[TRAIN] * size[PULSE] == 1 or PULSE not in kept
    )


def test_few_numbers_of_all_frames_are_joined_from_blocks():
    """One task would read the run, to bring together a number of each frame."""
    mean = ops.map_frames(
        image_run(LONG), np.mean, dims=(MODULE, SLOW, FAST), out_dims={}, dtype="f4",
        options={"axis": (-3, -2, -1)},
    )  # fmt: skip
    together = mean.chunk({TRAIN: -1})
    assert together.chunks[0] == (LONG,)
    found = estimate(together)
    assert found.blocks == len(mean.chunks[0])
    assert found.peak_memory_per_worker < FLAT * estimate(mean).peak_memory_per_worker
    # A selection before that reaches the files all the same.
    assert estimate(mean[:60].chunk({TRAIN: -1})).blocks == 1
