"""Values per train against the simulated ones, read plainly."""

import h5py
import numpy as np
import pytest

from tests.support.euxfel_files import Fast, Slow, write_file
from xfelred import Bins, by_id, open_run, ops
from xfelred.errors import InconsistentDataError, PropertyNameError, SourceNameError
from xfelred.synth.euxfel import write_run

XGM = "SA1_XTD2_XGM/DOOCS/MAIN"
ENERGY = f"{XGM}:output.data.intensityTD"
PLACE = f"{XGM}.beamPosition.ixPos"
DELAY = "SPB_LAS_PPL/MOTOR/DELAY.actualPosition"


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """5 trains; the control file has count 0 in 10002 and no row for 10003."""
    return write_run(
        tmp_path_factory.mktemp("scalars"),
        modules=(0,),
        n_trains=5,
        pulses=3,
        missing={("DA01", 10002)},
        absent={("DA01", 10003)},
        sequences={"DA01": 2},
    )


@pytest.fixture(scope="module")
def run(truth):
    return open_run(truth.directory)


def stored(truth, path):
    """Values from all sequence files, one after the other."""
    parts = []
    for file in truth.files["DA01"]:
        with h5py.File(file) as h5:
            parts.append(h5[path][()])
    return np.concatenate(parts)


def test_values_are_joined_by_train_and_nan_where_there_are_none(run, truth):
    got = run.scalars([PLACE, DELAY])
    assert got.train.values.tolist() == list(range(10000, 10005))
    gone = np.array([0, 0, 1, 1, 0], bool)
    for name, path in ((PLACE, f"{XGM}/beamPosition/ixPos"), (DELAY, None)):
        path = path or "SPB_LAS_PPL/MOTOR/DELAY/actualPosition"
        want = stored(truth, f"CONTROL/{path}/value")
        np.testing.assert_array_equal(np.isnan(got[name]), gone)
        np.testing.assert_array_equal(got[name].values[~gone], want)


def test_vectors_of_pulses_are_the_pulse_energies(run, truth):
    got = run.scalars([ENERGY])[ENERGY]
    assert got.dims == ("train", "pulse")
    want = stored(truth, f"INSTRUMENT/{XGM}:output/data/intensityTD")
    np.testing.assert_array_equal(got.values[[0, 1, 4]], want)
    assert np.isnan(got.values[[2, 3]]).all()
    ratio = got.values[0, :3] / truth.intensity(10000)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)


def test_pairs_and_texts_name_the_same_key(run):
    pair = run.scalars([(XGM, "beamPosition.ixPos")])
    np.testing.assert_array_equal(pair[PLACE], run.scalars([PLACE])[PLACE])
    assert list(run.scalars([PLACE, (XGM, "beamPosition.ixPos.value")])) == [PLACE]


def test_units_come_from_the_file(run):
    got = run.scalars([PLACE, ENERGY])
    assert got[PLACE].attrs["units"] == "mm"
    assert got[ENERGY].attrs["units"].endswith("J")


def test_integers_stay_integers_where_every_train_has_one(run, truth):
    key = "SPB_LAS_PPL/MDL/SHUTTER.isOpen"
    got = run.select_trains(by_id[[10000, 10001, 10004]]).scalars([key])[key]
    assert got.dtype.kind == "u"
    np.testing.assert_array_equal(got, truth.laser_on[[0, 1, 4]])


def test_values_line_up_with_frames(run):
    frames = run.frames(roi=np.s_[:2, :2])
    place = run.scalars([PLACE])[PLACE]
    assert (frames * place).sizes["train"] == 5
    np.testing.assert_array_equal(frames.train, place.train)


def test_of_selected_trains_and_of_none(run):
    few = run.select_trains(by_id[[10001, 10003]]).scalars([PLACE])
    assert few.train.values.tolist() == [10001, 10003]
    assert np.isnan(few[PLACE].values).tolist() == [False, True]
    assert run.select_trains([]).scalars([PLACE, ENERGY]).sizes["train"] == 0
    assert run.scalars([]).sizes["train"] == 5


def test_vectors_of_two_lengths_are_refused(run, truth):
    pair = (truth.source(0), "header.magicNumberBegin")
    with pytest.raises(InconsistentDataError, match="separate calls"):
        run.scalars([pair, ENERGY])


def test_what_is_no_value_per_train_is_refused(run, truth):
    with pytest.raises(ValueError, match="single values or vectors"):
        run.scalars([(truth.source(0), "image.data")])
    with pytest.raises(InconsistentDataError, match="one per train"):
        run.scalars([(truth.source(0), "image.pulseId")])


def test_unknown_names_are_errors(run):
    with pytest.raises(SourceNameError):
        run.scalars(["NO/SUCH/SOURCE.value"])
    with pytest.raises(PropertyNameError):
        run.scalars([f"{XGM}.nothing"])
    with pytest.raises(PropertyNameError, match="is a source"):
        run.scalars([XGM])
    with pytest.raises(TypeError, match="list of keys"):
        run.scalars(PLACE)


def test_missing_keys_can_be_ignored(run):
    absent = [f"{XGM}.nothing", "SPB_NO/SUCH:source.key"]
    found = run.scalars([PLACE, *absent, DELAY], missing_keys="ignore")
    assert set(found) == {PLACE, DELAY}
    np.testing.assert_array_equal(found[DELAY], run.scalars([DELAY])[DELAY])
    for key in absent:
        with pytest.raises((SourceNameError, PropertyNameError)):
            run.scalars([PLACE, key])
    with pytest.raises(ValueError, match="missing_keys='warn'"):
        run.scalars([PLACE], missing_keys="warn")


# Integers where a train is missing.

EDGE = {
    "i8": [-(2**63), 2**63 - 1], "u8": [2**64 - 1, 2**53 + 1], "i4": [-(2**31), 7],
    "u4": [2**32 - 1, 7], "u1": [255, 0], "i2": [-(2**15), 1],
    "i8 small": [2**53, -(2**53)], "u8 small": [2**53, 0],
}  # fmt: skip


@pytest.fixture(params=EDGE)
def gap(request, tmp_path):
    """Two trains of an integer, and a third one that only another device has."""
    dtype = request.param.split()[0]
    stored = np.array(EDGE[request.param], dtype)
    pulses = np.stack([stored, stored[::-1]])
    parts = [Slow("A/B/C", {"v": stored}), Fast("A/B/D:o", "d", [1, 1], {"p": pulses})]
    write_file(tmp_path / "A.h5", [20, 21], *parts)
    write_file(tmp_path / "B.h5", [19, 20, 21], Slow("A/B/E", {"w": np.arange(3)}))
    return stored, open_run(tmp_path)


def test_integers_stay_exact_where_a_train_is_missing(gap):
    stored, run = gap
    ds = run.scalars(["A/B/C.v", "A/B/D:o.d.p", "A/B/E.w"])
    for name, want in (
        ("A/B/C.v", stored.tolist()),
        ("A/B/D:o.d.p", np.stack([stored, stored[::-1]]).tolist()),
    ):
        got = ds[name]
        if got.dtype.kind == "f":
            assert np.isnan(got[0]).all()
            assert got[1:].astype(object).values.tolist() == want
        else:
            assert got.dtype == stored.dtype
            assert got[1:].values.tolist() == want
            assert ds[f"{name}_recorded"].values.tolist() == [False, True, True]
    assert ds["A/B/E.w"].dtype.kind == "i"
    alone = run.select_trains([1, 2]).scalars(["A/B/C.v"])["A/B/C.v"]
    assert alone.dtype == stored.dtype


def test_tables_keep_integers_that_no_float_holds(gap):
    stored, run = gap
    column = run.get_dataframe()["A/B/C/v"]
    assert [int(v) for v in column.dropna()] == stored.tolist()
    assert column.isna()[[19, 20, 21]].tolist() == [True, False, False]


def test_what_was_not_recorded_passes_no_cut(tmp_path):
    write_file(tmp_path / "A.h5", [20], Slow("A/B/C", {"v": np.array([2**60])}))
    write_file(tmp_path / "B.h5", [19, 20], Slow("A/B/E", {"w": np.arange(2)}))
    ds = open_run(tmp_path).scalars(["A/B/C.v", "A/B/E.w"])
    chosen, flow = ops.select_shots(ds, ["`A/B/C.v` >= 0"])
    assert chosen.values.tolist() == [False, True]
    assert flow.passed == 1
    for bins in ({"A/B/C.v": Bins(edges=[-1, 1, 2**61])},
                 {"v": Bins(edges=[-1, 1, 2**61], values=ds["A/B/C.v"])}):  # fmt: skip
        cube = ops.bin_frames(ds, bins)
        assert cube.n_shots.values.tolist() == [0, 1]


# Structured keys.

ROW = np.dtype([("x", "f4"), ("n", "u8"), ("at", "i2", (2,))])


@pytest.fixture
def structured(tmp_path):
    rows = np.zeros(2, ROW)
    rows["x"], rows["n"], rows["at"] = [1, 2], [2**60 + 1, 3], [[1, 2], [3, 4]]
    part = Fast("A/B/C:o", "d", [1, 1], {"row": rows, "same": rows[[1, 1]]})
    write_file(tmp_path / "A.h5", [20, 21], part)
    write_file(tmp_path / "B.h5", [19, 20, 21], Slow("A/B/E", {"w": np.arange(3)}))
    return open_run(tmp_path)


def test_fields_of_structured_keys_are_scalars_of_their_own(structured):
    ds = structured.scalars(["A/B/C:o.d.row", "A/B/E.w"])
    name = "A/B/C:o.d.row"
    np.testing.assert_array_equal(ds[f"{name}.x"], [np.nan, 1, 2])
    assert ds[f"{name}.n"].values.tolist() == [0, 2**60 + 1, 3]
    assert ds[f"{name}.n_recorded"].values.tolist() == [False, True, True]
    assert ds[f"{name}.at"].dims == ("train", "pulse")


def test_structured_keys_elsewhere(structured):
    key = structured["A/B/C:o", "d.row"]
    table = key.xarray()
    assert table["n"].values.tolist() == [2**60 + 1, 3]
    assert table["at"].dims == ("trainId", "at_0")
    with pytest.raises(TypeError, match="3 fields"):
        key.series()
    frame = structured.get_dataframe()
    assert frame["A/B/C:o/d.row.n"].dropna().tolist() == [2**60 + 1, 3]
    assert structured["A/B/C:o", "d.same"].as_single_value()["n"] == 3
    with pytest.raises(ValueError, match="not constant"):
        key.as_single_value()


def test_one_value_of_large_integers_is_exact(tmp_path):
    values = {"id": np.full(3, 2**60 + 1), "t": 2**60 + np.arange(3)}
    write_file(tmp_path / "A.h5", [1, 2, 3], Slow("A/B/C", values))
    run = open_run(tmp_path)
    assert int(run["A/B/C", "id"].as_single_value()) == 2**60 + 1
    with pytest.raises(ValueError, match="not constant"):
        run["A/B/C", "t"].as_single_value()
