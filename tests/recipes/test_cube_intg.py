"""Cubes of slow detectors, which have readouts and scalars of their own."""

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr

import xfelred as xf
from xfelred import ops

N, EVERY = 60, 6
M = N // EVERY
MONO = np.repeat(np.linspace(520, 524, 5), N // 5)
HEAD = {"schema_version": 1, "kind": "cube"}
DETECTORS = {"intg/archon": {"key": "full_area"}}
SHAPE = (4, 6)


def images():
    return np.random.default_rng(2).normal(5, 1, (M, *SHAPE)).astype("f4")


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "rixtest01_Run0066.h5"
    ids = (np.uint64(1_100_000_000) << np.uint64(32)) + np.arange(N, dtype="u8")
    slow = np.arange(M) * EVERY + EVERY - 1
    with h5py.File(path, "w") as file:
        file["timestamp"] = ids
        file["lightStatus/laser"] = (np.arange(N) % 4 < 2).astype("i4")
        file["scan/mono"] = MONO
        file["ipm/sum"] = np.arange(N) * 1.0
        file["intg/timestamp"] = ids[slow]
        file["intg/archon/full_area"] = images()
        file["intg/archon/mono_ev"] = MONO[slow]
        file["intg/archon/count"] = np.full(M, EVERY)
        file["UserDataCfg/archon/ped"] = np.zeros(SHAPE)
        file["UserDataCfg/archon/mask"] = np.ones(SHAPE, "u1")
        file["UserDataCfg/archon/ix"], file["UserDataCfg/archon/iy"] = np.indices(SHAPE)
    return xf.open_run(path)


@pytest.mark.parametrize("axis", ["intg/archon/mono_ev", "archon/mono_ev"])
def test_readouts_are_binned_by_their_own_scalars(run, axis):
    recipe = {
        **HEAD, "bins": {axis: {"unique": True}}, "detectors": DETECTORS,
        "variables": ["intg/archon/count", "ipm/sum"],
        "filters": {"filter1": ["ipm/sum >= 0", "archon/count > 2"]},
    }  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    np.testing.assert_array_equal(cube[axis.replace("/", "__")], np.unique(MONO))
    np.testing.assert_array_equal(cube.n_shots, [2] * 5)
    np.testing.assert_array_equal(cube.intg__archon_shots, [2] * 5)
    np.testing.assert_array_equal(cube.intg__archon__count_sum, [2 * EVERY] * 5)
    # Values of events are those of the event of the readout.
    np.testing.assert_array_equal(
        cube.ipm__sum_sum, np.arange(5, N, 6).reshape(5, 2).sum(1)
    )
    want = images().reshape(5, 2, *SHAPE).mean(1)
    np.testing.assert_allclose(cube.intg__archon_mean[:, 0], want, rtol=1e-6)
    assert cube.attrs["n_outside"] == 0


def test_readouts_are_binned_by_values_of_events(run):
    recipe = {**HEAD, "bins": {"scan/mono": {"unique": True}}, "detectors": DETECTORS}
    cube = xf.make_cube(run, recipe).compute()
    np.testing.assert_array_equal(cube.n_shots, [N // 5] * 5)
    np.testing.assert_array_equal(cube.intg__archon_shots, [2] * 5)


def test_names_of_slow_detectors_in_files(run, tmp_path):
    recipe = {
        **HEAD, "bins": {"archon/mono_ev": {"unique": True}}, "laser": "split",
        "detectors": {"intg/archon": {"key": "full_area", "image": True, "det_proc": [
            {"function": "roi", "name": "R", "bounds": [[0, 2], [0, 3]]}
        ]}},
        "output": {"formats": ["zarr", "lcls_h5", "tiff"]},
    }  # fmt: skip
    result = xf.write_cube(run, recipe, tmp_path / "out")
    names = [p.name for p in result.paths]
    assert names[:3] == [
        "cube_rixtest01_Run0066_archon__mono_ev.zarr",
        "Cube_rixtest01_Run0066_archon__mono_ev_on.h5",
        "Cube_rixtest01_Run0066_archon__mono_ev_off.h5",
    ]
    laser = np.arange(N)[EVERY - 1 :: EVERY] % 4 < 2
    with xr.open_zarr(result.paths[0]) as cube:
        assert cube.intg__archon_R_sum.dims == ("laser_on", "archon__mono_ev")
        want = images()[laser].mean(0)
        total = cube.intg__archon_sum.sel(laser_on=True).sum("archon__mono_ev")
        np.testing.assert_allclose(total / laser.sum(), want, rtol=1e-6)
    with h5py.File(result.paths[1]) as file:
        assert {"intg__archon_data", "intg__archon_nEntries", "intg__archon_R_sum"} <= {
            *file
        }
        assert "ped" in file["intg__archon_cfg"]
    for state, mine in (("on", laser), ("off", ~laser)):
        (path,) = [
            p for p in result.paths if p.name.endswith(f"{state}_filter_filter1.tiff")
        ]
        assert path.name == f"Run_66_intg__archon_{state}_filter_filter1.tiff"
        np.testing.assert_allclose(
            tifffile.imread(path), images()[mine].mean(0), rtol=1e-5
        )


@pytest.mark.parametrize("laser", ["on", "all"])
def test_one_image_where_there_is_one_laser_state(run, tmp_path, laser):
    recipe = {
        **HEAD, "laser": laser, "detectors": DETECTORS,
        "output": {"formats": ["tiff"], "report": False},
    }  # fmt: skip
    (path,) = xf.write_cube(run, recipe, tmp_path / laser).paths
    assert path.name == "Run_66_intg__archon_filter_filter1.tiff"
    mine = np.ones(M, bool)
    if laser == "on":
        mine = np.arange(N)[EVERY - 1 :: EVERY] % 4 < 2
    image = tifffile.imread(path).reshape(SHAPE)
    np.testing.assert_allclose(image, images()[mine].mean(0), rtol=1e-5)


def test_a_name_that_no_stream_has_is_an_error_of_its_key(run):
    recipe = {**HEAD, "bins": {"archon/mono": {"unique": True}}, "detectors": DETECTORS}
    with pytest.raises(xf.ConfigError, match=r"bins\.archon/mono: no 'archon/mono'"):
        xf.make_cube(run, recipe)


def test_constants_of_slow_detectors_are_theirs(run):
    assert list(run.detectors) == ["intg/archon"]
    frames = run.frames()
    for name in ("archon", "intg/archon"):
        constants = run.constants(name)
        assert constants.attrs["detector"] == "intg/archon"
        out = ops.calibrate(frames, constants, kind="archon")
        np.testing.assert_array_equal(out[:, 0, 0], images())
