"""Cubes by one column of an array, and the delay of shots without laser."""

import h5py
import numpy as np
import pytest

import xfelred as xf

N = 60
HEAD = {"schema_version": 1, "kind": "cube"}
STEPS = np.repeat(np.arange(-2, 4.0), 10)  # ps
LASER = np.arange(N) % 3 != 2
SCAN = {"delay": {"start": -2.5, "stop": 3.5, "step": 1}}


@pytest.fixture
def opened(tmp_path):
    def write(columns, flavour="LCLS2"):
        path = tmp_path / "rixtest01_Run0010.h5"
        with h5py.File(path, "w") as file:
            ids = (1_100_000_000 << 32) + np.arange(N)
            if flavour == "LCLS2":
                file["timestamp"] = ids.astype("u8")
            else:
                file["event_time"], file["fiducials"] = ids, np.arange(N) * 3
            file["det/calib"] = np.arange(N)[:, None, None, None] * np.ones((1, 4, 4))
            for name, value in columns.items():
                file[name] = value
        return xf.open_run(path)

    return write


def eventcodes():
    codes = np.zeros((N, 288), "u1")
    codes[:, 9] = 1
    codes[LASER, 203] = 1
    return codes


def test_one_column_in_scalars(opened):
    run = opened({"timing/eventcodes": eventcodes(), "scan/x": STEPS[:, None]})
    found = run.scalars(["timing/eventcodes[203]", "scan/x"])
    assert found["timing/eventcodes[203]"].dims == found["scan/x"].dims == ("train",)
    np.testing.assert_array_equal(found["timing/eventcodes[203]"], LASER)
    np.testing.assert_array_equal(found["scan/x"], STEPS)
    assert list(run.scalars("scan/x[0]")) == ["scan/x[0]"]
    for name, message in (
        ("timing/eventcodes[288]", "position 288.*shape \\(288,\\)"),
        ("timing/eventcode[2]", "no 'timing/eventcode\\[2\\]'"),
    ):
        with pytest.raises(xf.PropertyNameError, match=message):
            run.scalars(name)


def test_one_column_is_cut_split_and_binned_by(opened):
    scan = np.stack([np.zeros(N), STEPS], axis=1)
    run = opened({"timing/eventcodes": eventcodes(), "scan/pos": scan})
    recipe = {
        **HEAD, "bins": {"scan/pos[1]": {"unique": True}}, "laser": "split",
        "laser_variable": "timing/eventcodes[203]", "variables": ["scan/pos[1]"],
        "filters": {"filter1": ["timing/eventcodes[9] == 1"]},
        "detectors": {"det": {}},
    }  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    np.testing.assert_array_equal(cube["scan__pos[1]"], np.arange(-2, 4))
    for i, state in enumerate((LASER, ~LASER)):
        for k, position in enumerate(np.arange(-2, 4)):
            mine = state & (position == STEPS)
            assert cube.n_shots[i, k] == mine.sum()
            np.testing.assert_allclose(
                cube.det_mean[i, k], np.flatnonzero(mine).mean(), rtol=1e-12
            )


def test_files_have_no_brackets_in_their_names(opened, tmp_path):
    run = opened({"scan/pos": np.stack([np.zeros(N), STEPS], axis=1)})
    recipe = {
        **HEAD, "bins": {"scan/pos[1]": {"unique": True}}, "detectors": {"det": {}},
        "output": {"formats": ["zarr", "lcls_h5"]},
    }  # fmt: skip
    names = [p.name for p in xf.write_cube(run, recipe, tmp_path / "out").paths]
    assert names == [
        "cube_rixtest01_Run0010_scan__pos_1.zarr",
        "Cube_rixtest01_Run0010_pos_1.h5",
        "cube_rixtest01_Run0010_scan__pos_1.html",
    ]


@pytest.mark.parametrize("key", ["bins", "laser_variable"])
def test_of_several_columns_one_has_to_be_named(opened, key):
    run = opened({"timing/eventcodes": eventcodes()})
    name = "timing/eventcodes"
    more = {"bins": {name: {"edges": [0, 1]}}} if key == "bins" else {
        "laser": "split", "laser_variable": name
    }  # fmt: skip
    with pytest.raises(xf.ConfigError, match=rf"{key}.*name one, such as '{name}\[0\]"):
        xf.make_cube(run, {**HEAD, **more, "detectors": {"det": {}}})


@pytest.mark.parametrize("missing", [np.nan, -99999.0])
@pytest.mark.parametrize("laser", ["split", "off"])
def test_shots_without_laser_have_the_nominal_delay(opened, laser, missing):
    tt = np.where(LASER, 0.3, missing)
    tt[[0, 1]] = missing  # with laser: not known, and outside of all bins
    columns = {"lightStatus/laser": LASER.astype("i4"), "scan/lxt": STEPS * 1e-12,
               "tt/ttCorr": tt}  # fmt: skip
    recipe = {**HEAD, "bins": SCAN, "laser": laser, "detectors": {"det": {}},
              "filters": {"filter1": ["-1 < tt/ttCorr < 1"]}}  # fmt: skip
    cube = xf.make_cube(opened(columns, "LCLS1"), recipe).compute()
    off = cube.sel(laser_on=False) if laser == "split" else cube
    want = [int((~LASER & (p == STEPS)).sum()) for p in np.arange(-2, 4)]
    np.testing.assert_array_equal(off.n_shots, want)
    np.testing.assert_allclose(off.delay_mean, np.arange(-2, 4))
    assert cube.attrs["n_off_at_nominal_delay"] == (~LASER).sum()
    if laser == "split":
        on = cube.sel(laser_on=True)
        assert int(on.n_shots.sum()) == LASER.sum() - 2
        np.testing.assert_allclose(on.delay_mean, np.arange(-2, 4) + 0.3)


def test_a_time_tool_that_sees_shots_without_laser_is_believed(opened):
    columns = {"lightStatus/laser": LASER.astype("i4"), "scan/lxt": STEPS * 1e-12,
               "tt/ttCorr": np.where(LASER, 0.3, 0.2)}  # fmt: skip
    recipe = {**HEAD, "bins": SCAN, "laser": "split", "detectors": {"det": {}}}
    cube = xf.make_cube(opened(columns, "LCLS1"), recipe).compute()
    off = cube.sel(laser_on=False)
    np.testing.assert_allclose(off.delay_mean, np.arange(-2, 4) + 0.2)
    assert cube.attrs["n_off_at_nominal_delay"] == 0
