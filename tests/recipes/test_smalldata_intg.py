"""Small data of slow detectors, which integrate over several shots."""

import h5py
import numpy as np
import pytest

import xfelred as xf
from tests.recipes.test_smalldata import recipe, stored
from xfelred.errors import ConfigError
from xfelred.synth.lcls import write_smalldata

N, EVERY = 23, 5
SHAPE = (4, 6)


@pytest.fixture
def run(tmp_path):
    """Readouts after 5, 10, 15 and 20 shots; the last three are in none."""
    path = tmp_path / "rixtest01_Run0066.h5"
    ids = (np.uint64(1_100_000_000) << np.uint64(32)) + np.arange(N, dtype="u8")
    slow = np.arange(EVERY - 1, N, EVERY)
    rng = np.random.default_rng(2)
    with h5py.File(path, "w") as file:
        file["timestamp"] = ids
        i0 = rng.normal(5, 1, N)
        i0[3] = np.nan
        file["ipm/sum"] = i0
        file["ipm/channels"] = rng.integers(0, 99, (N, 3))
        file["fast/full_area"] = rng.normal(5, 1, (N, *SHAPE)).astype("f4")
        file["intg/timestamp"] = ids[slow]
        file["intg/archon/full_area"] = rng.normal(5, 1, (4, *SHAPE)).astype("f4")
        file["intg/archon/energy"] = np.arange(4) * 1.5
    return xf.open_run(path)


ROI = {"function": "roi", "name": "all"}


def test_fast_values_are_added_up_between_readouts(run, tmp_path):
    wanted = ["ipm/sum", "ipm/channels", "fast/all_sum"]
    made = recipe(
        detectors={"fast": {"functions": [ROI]}, "intg/archon": {"functions": [ROI]}},
        integrating={"archon": {"sum": wanted, "variables": ["energy"]}},
        block_trains=7,
    )
    path = xf.reduce_run(run, made, tmp_path / "out")
    out = stored(path)
    ds = run.scalars(["ipm/sum", "ipm/channels"])
    i0 = ds["ipm/sum"].values[:20].reshape(4, EVERY)
    np.testing.assert_allclose(out["intg/archon/ipm_sum_sum"], np.nansum(i0, 1))
    counts = np.isfinite(i0).sum(1)
    np.testing.assert_array_equal(out["intg/archon/ipm_count_sum"], counts)
    each = ds["ipm/channels"].values[:20].reshape(4, EVERY, 3).sum(1)
    np.testing.assert_array_equal(out["intg/archon/ipm_sum_channels"], each)
    frames = run.frames("fast").values[:20].astype(float).reshape(4, -1)
    np.testing.assert_allclose(out["intg/archon/fast_sum_all_sum"], frames.sum(1))
    np.testing.assert_array_equal(out["intg/archon/count"], [EVERY] * 4)
    ids = np.asarray(run.train_ids)
    np.testing.assert_array_equal(out["intg/archon/timestamp_min"], ids[0:20:EVERY])
    np.testing.assert_array_equal(out["intg/archon/timestamp_max"], ids[4:20:EVERY])
    slow = run.frames("intg/archon").values.reshape(4, -1)
    np.testing.assert_allclose(out["intg/archon/all_sum"], slow.sum(1), rtol=1e-6)
    again = xf.open_run(path)
    assert again.streams == ("event", "intg")
    found = again.scalars(["archon/*"], stream="intg")
    np.testing.assert_array_equal(found["archon/energy"], [0, 1.5, 3, 4.5])


def test_a_detector_with_frames_of_some_shots_integrates_over_the_others(tmp_path):
    source = tmp_path / "xpptest01_Run0047.h5"
    write_smalldata(source, n_events=12, shape=(2, 6, 8), n_banks=2)
    run = xf.open_run(source)
    frames = run.frames("jungfrau1M")[[3, 7, 11]]
    made = recipe(
        detectors={"slow": {"functions": [ROI]}},
        integrating={"slow": {"sum": ["ipm2/sum"]}},
    )
    path = xf.reduce_run(run, made, tmp_path / "out", frames={"slow": frames})
    out = stored(path)
    i0 = run.scalars(["ipm2/sum"])["ipm2/sum"].values.reshape(3, 4).sum(1)
    np.testing.assert_allclose(out["intg/slow/ipm2_sum_sum"], i0)
    assert np.isfinite(out["slow/all_sum"]).sum() == 3


def test_mistakes_are_told(run, tmp_path):
    made = recipe(detectors={}, integrating={"archom": {}})
    with pytest.raises(ConfigError, match=r"integrating.archom: .*mean 'archon'"):
        xf.reduce_run(run, made, tmp_path / "out")
    made = recipe(detectors={}, integrating={"archon": {"sum": ["ipm/summ"]}})
    with pytest.raises(ConfigError, match=r"integrating.archon.sum.0: .*ipm/summ"):
        xf.reduce_run(run, made, tmp_path / "out")
