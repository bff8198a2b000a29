import pickle

import h5py
import numpy as np
import pytest

from xfelred import open_run, ops
from xfelred.hdf5.rows import read_rows
from xfelred.readers.euxfel import module_plans

FRAME = 512 * 128  # pixels of one module


@pytest.fixture
def values_read(monkeypatch):
    """Bytes of the values that the reader is asked for, as they are in the files."""
    found = []

    def counting(path, dataset, rows, entry, out):
        with h5py.File(path) as file:
            width = file[dataset].dtype.itemsize
        window = [len(range(e.start, e.stop, e.step)) for e in entry]
        found.append(int(rows.count.sum()) * int(np.prod(window)) * width)
        read_rows(path, dataset, rows, entry, out)

    monkeypatch.setattr(module_plans, "read_rows", counting)
    return found


def test_plan_of_frames_counts_data_and_mask(agipd_run):
    run = open_run(agipd_run.directory)
    found = run.plan(run.frames())
    frames = 4 * 5 * 3
    assert found.bytes_to_read == frames * FRAME * (4 + 4)  # float32, uint32 mask
    assert found.bytes_total == found.bytes_to_read
    assert found.result_bytes == frames * FRAME * 4
    assert found.files == 4 * 2
    kept = run.plan(run.frames(bad_pixels="keep"))  # the mask is a coordinate
    assert kept.bytes_to_read == found.bytes_to_read
    assert kept.result_bytes == frames * FRAME * (4 + 4)
    alone = run.plan(run.frames(bad_pixels=None))
    assert alone.bytes_to_read == frames * FRAME * 4


def test_selections_are_compared_with_the_whole_detector(agipd_run):
    run = open_run(agipd_run.directory)
    frames = run.frames()
    found = run.plan(frames.sel(module=3).isel(train=slice(0, 2)))
    assert found.bytes_to_read == 2 * 3 * FRAME * 8
    assert found.bytes_total == 4 * 5 * 3 * FRAME * 8
    assert run.plan(frames[..., :8, :8]).bytes_to_read == 60 * 64 * 8
    some = run.select_trains(np.s_[1:4])
    assert some.plan(some.frames()).bytes_total == 4 * 3 * 3 * FRAME * 8


def test_converted_values_are_counted_as_they_are_stored(agipd_raw_run, values_read):
    run = open_run(agipd_raw_run.directory)
    raw = run.plan(run.frames())
    assert raw.bytes_to_read == 2 * 2 * 3 * 2 * FRAME * 2  # signal and gain, uint16
    wide = run.frames(astype="float64")
    found = run.plan(wide)
    assert found.bytes_to_read == raw.bytes_to_read
    assert found.result_bytes == 4 * raw.result_bytes
    wide.compute(scheduler="sync")
    assert sum(values_read) == found.bytes_to_read


CASES = {
    "frames": lambda x: x,
    "pulses": lambda x: x.isel(pulse=slice(1, 3)),
    "frame": lambda x: x.isel(train=1, pulse=0),
    "statistics": ops.statistics,
    "per pulse": lambda x: ops.statistics(x, ("train", "slow_scan", "fast_scan")),
    "computed with": lambda x: (x - 1).isel(module=1),
    "dark": ops.dark_statistics,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:trains of:UserWarning")
@pytest.mark.filterwarnings("ignore:.*corrected already:UserWarning")
@pytest.mark.parametrize("layout", ["train", "frame"])
def test_bytes_of_ragged_trains_are_those_that_are_read(
    case, layout, ragged_run, values_read
):
    run = open_run(ragged_run.directory)
    frames = run.frames(layout=layout, roi=np.s_[:16, :8], chunk_size=200_000)
    if layout == "frame":
        if case in ("pulses", "frame", "per pulse"):
            frames = frames.isel(frame=slice(3, 9, 2))
            case = "frames"
        case = {"statistics": "dark"}.get(case, case)
    result = CASES[case](frames)
    found = run.plan(result)
    result.compute(scheduler="sync")
    assert found.bytes_to_read == sum(values_read) > 0


def test_memory_cells_of_one_row_are_counted(jungfrau_run, values_read):
    run = open_run(jungfrau_run.directory)
    frames = run.frames(roi=np.s_[:4, :4])
    for result in (frames, frames.isel(pulse=1), ops.statistics(frames)):
        values_read.clear()
        found = run.plan(result)
        result.compute(scheduler="sync")
        assert found.bytes_to_read == sum(values_read) > 0


def test_data_of_another_run_are_described(agipd_run, dssc_run):
    run, other = open_run(agipd_run.directory), open_run(dssc_run.directory)
    found = run.plan(other.frames())
    assert found.bytes_to_read == 2 * 3 * 4 * FRAME * 2
    assert found.bytes_total is None
    assert found.files == 4
    both = run.plan(run.frames(), other.frames())
    assert both.bytes_to_read == found.bytes_to_read + 60 * FRAME * 8
    assert both.files == 12


def test_arrays_in_memory_and_single_sources(agipd_run):
    run = open_run(agipd_run.directory)
    assert run.plan(run.frames()[0, 0].compute()).bytes_to_read == 0
    key = run["SA1_XTD2_XGM/DOOCS/MAIN:output", "data.intensityTD"]
    found = run.plan(key.dask_array())
    assert found.bytes_to_read == key.nbytes == found.bytes_total


def test_files_that_are_gone_do_not_hinder_the_plan(agipd_run, monkeypatch):
    run = open_run(agipd_run.directory)
    frames = run.frames()
    want = run.plan(frames).bytes_to_read

    def gone(*_):
        raise OSError("gone")

    monkeypatch.setattr(h5py, "File", gone)
    assert run.plan(frames).bytes_to_read == want


def test_no_pixel_is_read_or_computed(agipd_run, values_read, no_compute):
    run = open_run(agipd_run.directory)
    with no_compute():
        result = ops.statistics(run.frames())
        run.plan(result, result["mean"] * 2)
    assert values_read == []
    # Another plan may find another amount of free memory.
    plan = run.plan(result)
    assert pickle.loads(pickle.dumps(plan)) == plan
