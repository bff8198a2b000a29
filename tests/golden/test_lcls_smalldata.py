"""Golden small-data files: values against h5py, delays against another program."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.errors import SourceNotFound

HERE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "lcls" / "smalldata"
if not HERE.is_dir():
    pytest.skip("no golden files beside the checkout", allow_module_level=True)

LCLS1 = [HERE / f"xpptest01_Run00{n}.h5" for n in (42, 43, 44)]
LCLS2 = HERE / "rixtest01_Run0007.h5"
ALL = [*LCLS1, LCLS2]
EPOCH = 631152000
NOT_PER_EVENT = ("Sums/", "UserDataCfg/", "intg/", "epics_archiver/")
IDS = ("event_time", "fiducials", "timestamp")


def stored(path):
    """Every dataset of a file, by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda n, d: (
                found.update({n: d[()]}) if isinstance(d, h5py.Dataset) else None
            )
        )
    return found


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_every_value_per_event(path):
    values = stored(path)
    run = xf.open_run(path)
    assert run.run_id == path.stem
    name = "timestamp" if path == LCLS2 else "event_time"
    np.testing.assert_array_equal(run.ids, values[name].astype(np.uint64))
    found = run.scalars("*", missing="keep")
    expected = {
        n
        for n in values
        if not n.startswith(NOT_PER_EVENT)
        and n not in IDS
        and "/var_" not in n
        and "/ragged_" not in n
    }
    assert set(found) == expected
    for key in expected:
        np.testing.assert_array_equal(found[key], values[key])
        assert found[key].dtype == values[key].dtype


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_times(path):
    values = stored(path)
    ids = values.get("event_time", values.get("timestamp"))
    seconds = (ids >> 32) + (EPOCH if path == LCLS2 else 0)
    ns = ids & 0xFFFFFFFF
    time = xf.open_run(path).scalars(["lightStatus/laser"]).time
    np.testing.assert_array_equal(time.values.astype(np.int64), seconds * 10**9 + ns)


def test_missing_values_of_lcls2():
    found = xf.open_run(LCLS2).scalars("*")
    count = found["andor_dir/count_like"]
    assert count.dtype == np.float64
    assert set(np.unique(count.dropna("train"))) == {7.0}
    assert found["timing/pulseId"].dtype == np.int64
    assert found["timing/eventcodes"].dims == ("train", "timing/eventcodes_dim0")


@pytest.mark.parametrize(
    ("path", "name"),
    [*((p, "epix_2") for p in LCLS1), (LCLS2, "axis_svls")],
    ids=lambda v: getattr(v, "stem", v),
)
def test_tables(path, name):
    values = stored(path)
    run = xf.open_run(path)
    table = run.table(f"{name}/var_droplet_sparse")
    counts = values[f"{name}/var_droplet_sparse_len"]
    np.testing.assert_array_equal(table.train, np.repeat(run.ids, counts))
    for field in table:
        key = f"{name}/var_droplet_sparse/{field}"
        np.testing.assert_array_equal(table[field], values[key])
    part = run.select_trains(np.s_[100:200]).table(f"{name}/var_droplet_sparse")
    inside = np.repeat(np.arange(len(counts)), counts)
    inside = (inside >= 100) & (inside < 200)
    np.testing.assert_array_equal(
        part["row"], values[f"{name}/var_droplet_sparse/row"][inside]
    )
    ragged = f"{name}/ragged_droplet_data"
    if ragged in values:
        found = run.table(ragged)
        np.testing.assert_array_equal(found["data"], np.concatenate(values[ragged]))
        lengths = [len(v) for v in values[ragged]]
        np.testing.assert_array_equal(found.train, np.repeat(run.ids, lengths))


@pytest.mark.parametrize("path", LCLS1, ids=lambda p: p.stem)
def test_constants_and_sums(path):
    values = stored(path)
    run = xf.open_run(path)
    found = run.constants("jungfrau1M")
    where = "UserDataCfg/jungfrau1M"
    names = {"pedestal": "ped", "noise": "rms", "gain": "gain", "ix": "ix", "iy": "iy"}
    for ours, theirs in names.items():
        np.testing.assert_array_equal(found[ours], values[f"{where}/{theirs}"])
    for axis in "xyz":
        np.testing.assert_allclose(found[axis], values[f"{where}/{axis}"] * 1e-6)
    np.testing.assert_array_equal(found.bad_pixels, values[f"{where}/cmask"] == 0)
    assert found.pedestal.dims == ("module", "slow_scan", "fast_scan")
    assert found.attrs["common_mode"] == 0
    for name in run.sums:
        np.testing.assert_array_equal(run.sums[name], values[f"Sums/{name}"])
    assert len(run.sums) == 6


def test_slow_stream():
    values = stored(LCLS2)
    run = xf.open_run(LCLS2)
    assert run.streams == ("event", "intg")
    found = run.scalars("*", stream="intg")
    np.testing.assert_array_equal(found.train, values["intg/timestamp"])
    for name in found:
        np.testing.assert_array_equal(found[name], values[f"intg/{name}"])


@pytest.mark.parametrize("path", LCLS1, ids=lambda p: p.stem)
def test_no_frames(path):
    run = xf.open_run(path)
    assert run.detectors == {"jungfrau1M": "jungfrau"}
    with pytest.raises(SourceNotFound, match="frames="):
        run.frames("jungfrau1M")


@pytest.mark.parametrize("case", ["lxt_on", "lxt_off"])
def test_delays_of_the_cube_program(case):
    """Its delay of every event: nominal delay and time-tool correction."""
    golden = np.load(HERE / "golden_cube_Run0042.npz")
    values = xf.open_run(LCLS1[0]).scalars(["scan/lxt", "tt/ttCorr"])
    delay = values["scan/lxt"] * 1e12 + values["tt/ttCorr"]
    np.testing.assert_allclose(delay, golden[f"{case}__delay"], rtol=0, atol=1e-9)


def test_two_runs_share_no_event():
    first, second = (xf.open_run(p) for p in LCLS1[:2])
    ids = np.intersect1d(first.ids, second.ids)
    fiducials = [
        r.with_ids(ids).scalars(["ipm2/sum"]).fiducials.values for r in (first, second)
    ]
    same = ids[fiducials[0] == fiducials[1]]
    if len(same):
        a, b = first.align(second)
        np.testing.assert_array_equal(a.ids, same)
        np.testing.assert_array_equal(b.ids, same)
    else:
        with pytest.raises(ValueError, match="share no event"):
            first.align(second)
