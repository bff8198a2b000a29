"""The cube file of LCLS: names, shapes and conventions of smalldata_tools."""

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.errors import OutputError
from xfelred.ops.cuts import parse_cuts
from xfelred.products.lcls_cube_file import (
    lcls_constants,
    selection_text,
    write_lcls_cube,
)
from xfelred.recipes.write_cube import write_cube
from xfelred.synth.lcls import write_smalldata

SHAPE = (2, 6, 8)
EDGES = np.arange(-3.0, 6.0)
DELAY = {"delay": {"start": -3, "stop": 5, "step": 1}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=120, shape=SHAPE, n_banks=2)
    return path


@pytest.fixture
def made(source, tmp_path):
    """``made(key=value)`` writes a cube with these keys of a recipe; returns paths."""

    def write(source=source, detector=None, compat=False, **more):
        recipe = {
            "schema_version": 1, "kind": "cube", "bins": DELAY,
            "variables": ["ipm2/sum", "ipm2/channels"],
            "detectors": {"jungfrau1M": {"key": "calib", **(detector or {})}},
            "output": {"formats": ["lcls_h5"], "report": False, "compat": compat},
            **more,
        }  # fmt: skip
        return write_cube(xf.open_run(source), recipe, tmp_path / "out").paths

    return write


def read(path):
    """All datasets of a file by their paths."""
    found = {}
    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                found[name] = file[name][()]
        return found, dict(file.attrs)


def by_hand(source, laser=None):
    """Delay, ipm2, channels and frames of the shots with data, with plain numpy."""
    run = xf.open_run(source)
    names = ["lightStatus/laser", "damage/jungfrau1M", "ipm2/sum", "ipm2/channels"]
    ds = run.scalars(names)
    good = (ds["damage/jungfrau1M"] == 1).values
    if laser is not None:
        good &= ds["lightStatus/laser"].values == laser
    frames = run.frames().values[:, 0].astype(float)
    values = (xf.ops.delay(run), ds["ipm2/sum"], ds["ipm2/channels"])
    return *(v.values[good] for v in values), frames[good]


# -- names and shapes ----------------------------------------------------------------


def test_one_axis_has_the_datasets_that_are_promised(made, source):
    (path,) = made()
    assert path.name == "Cube_xpptest01_Run0047_lxt.h5"
    found, attrs = read(path)
    n = len(EDGES) - 1
    at_root = {
        "binVar_bins": (n,), "nEntries": (n,), "binVar": (n,), "delay": (n,),
        "ipm2__sum": (n,), "std_ipm2__sum": (n,),
        "ipm2__channels": (n, 4), "std_ipm2__channels": (n, 4),
        "jungfrau1M_data": (n, *SHAPE), "jungfrau1M_nEntries": (n,),
    }  # fmt: skip
    assert {k: v.shape for k, v in found.items() if "/" not in k} == at_root
    assert set(attrs) == {"cubeSelection"}
    np.testing.assert_allclose(found["binVar_bins"], EDGES[:-1])
    np.testing.assert_array_equal(found["binVar"], found["delay"])


@pytest.mark.parametrize("laser", ["all", "split"])
def test_numbers_equal_plain_numpy(made, source, laser):
    paths = made(laser=laser)
    states = {"all": {"": None}, "split": {"_on": 1, "_off": 0}}[laser]
    assert [p.name for p in paths] == [
        f"Cube_xpptest01_Run0047_lxt{word}.h5" for word in states
    ]
    for path, state in zip(paths, states.values(), strict=True):
        found, _ = read(path)
        delay, ipm2, channels, frames = by_hand(source, state)
        for k in range(len(EDGES) - 1):
            mine = (delay >= EDGES[k]) & (delay < EDGES[k + 1])
            n = int(mine.sum())
            assert found["nEntries"][k] == found["jungfrau1M_nEntries"][k] == n
            if n == 0:
                assert np.isnan(found["ipm2__sum"][k])
                assert np.isnan(found["jungfrau1M_data"][k]).all()
                continue
            close = {"rtol": 1e-9, "atol": 1e-9}
            np.testing.assert_allclose(found["binVar"][k], delay[mine].sum(), **close)
            for name, values in (("ipm2__sum", ipm2), ("ipm2__channels", channels)):
                got, std = found[name][k], found[f"std_{name}"][k]
                np.testing.assert_allclose(got, np.nansum(values[mine], 0), **close)
                np.testing.assert_allclose(std, np.nanstd(values[mine], 0), **close)
            total = frames[mine].sum(0)
            np.testing.assert_allclose(found["jungfrau1M_data"][k], total, **close)


def test_axis_is_called_after_what_is_binned(made):
    (path,) = made(bins={"ipm2/sum": {"edges": [0, 2000, 9000]}})
    assert path.name == "Cube_xpptest01_Run0047_ipm2__sum.h5"
    found, _ = read(path)
    np.testing.assert_allclose(found["binVar_bins"], [0, 2000])
    np.testing.assert_array_equal(found["binVar"], found["ipm2__sum"])


def test_run_without_a_scan_is_one_bin(made, source):
    (path,) = made(bins={})
    assert path.name == "Cube_xpptest01_Run0047_all.h5"
    found, _ = read(path)
    frames = by_hand(source)[-1]
    assert found["nEntries"].ravel().tolist() == [len(frames)]
    np.testing.assert_allclose(
        found["jungfrau1M_data"].reshape(SHAPE), frames.sum(0), rtol=1e-9
    )


def test_several_axes_have_their_own_bins(made):
    bins = {"ipm2/sum": {"edges": [0, 2000, 9000]}, **DELAY}
    (path,) = made(bins=bins)
    assert path.name == "Cube_xpptest01_Run0047_ipm2__sum-lxt.h5"
    found, _ = read(path)
    assert found["nEntries"].shape == (2, 8)
    assert found["jungfrau1M_data"].shape == (2, 8, *SHAPE)
    assert found["std_ipm2__channels"].shape == (2, 8, 4)
    # The first axis has right edges, the others centres; there is no binVar.
    np.testing.assert_allclose(found["bins_ipm2_sum"], [2000, 9000])
    np.testing.assert_allclose(found["bins_delay"], (EDGES[1:] + EDGES[:-1]) / 2)
    assert not [name for name in found if name.startswith("binVar")]


@pytest.mark.parametrize("compat", [False, True])
def test_distinct_positions_begin_with_the_outlier_bin(tmp_path, made, compat):
    path = tmp_path / "xpptest01_Run0048.h5"
    positions = (1.0, 2.0, 4.0)
    write_smalldata(
        path, n_events=60, shape=SHAPE, n_banks=2, scan="motor", delays=positions
    )
    (path,) = made(path, bins={"scan/gon_y": {"unique": True}}, compat=compat)
    assert path.name == "Cube_xpptest01_Run0048_gon_y.h5"
    found, _ = read(path)
    left = found["binVar_bins"]
    assert len(found["nEntries"]) == len(left)
    np.testing.assert_allclose(left[1] - left[0], left[2] - left[1])
    assert np.isnan(found["jungfrau1M_data"][0]).all()
    assert found["jungfrau1M_nEntries"][0] == 0
    assert found["jungfrau1M_nEntries"][1:].min() > 0
    # Sums of the positions themselves.
    mean = found["binVar"][1:] / found["nEntries"][1:]
    np.testing.assert_allclose(mean, left[1:], rtol=1e-9)


@pytest.mark.parametrize("compat", [False, True])
def test_empty_bins_are_nan_and_have_no_entries(made, compat):
    bins = {"delay": {"edges": [-3, -1, 5, 50, 60]}}
    found, _ = read(made(bins=bins, compat=compat)[0])
    empty = np.array([False, False, True, True])
    for name in ("binVar", "delay", "ipm2__sum", "std_ipm2__sum"):
        np.testing.assert_array_equal(np.isnan(found[name]), empty)
    if compat:
        np.testing.assert_array_equal(np.isnan(found["nEntries"]), empty)
    else:
        np.testing.assert_array_equal(found["nEntries"] == 0, empty)
    np.testing.assert_array_equal(found["jungfrau1M_nEntries"] == 0, empty)
    data = found["jungfrau1M_data"].reshape(4, -1)
    np.testing.assert_array_equal(np.isnan(data).all(1), empty)


def test_other_filters_and_processed_sums_are_named(made):
    step = {"function": "roi", "name": "ROI_0", "bounds": [[0, 1], [1, 5], [2, 6]]}
    (path,) = made(detector={"det_proc": [step]})
    found, _ = read(path)
    total = found["jungfrau1M_data"][:, 0, 1:5, 2:6].sum((1, 2))
    np.testing.assert_allclose(
        found["jungfrau1M_ROI_0_sum"].reshape(total.shape), total, rtol=1e-6
    )


# -- constants -----------------------------------------------------------------------


def test_constants_have_the_names_units_and_sense_of_lcls(made, source):
    found, _ = read(made()[0])
    with h5py.File(source) as file:
        known = {k: v[()] for k, v in file["UserDataCfg/jungfrau1M"].items()}
    for name in ("ped", "rms", "gain", "x", "y", "ix", "iy"):
        np.testing.assert_allclose(
            found[f"jungfrau1M_cfg/{name}"], known[name], rtol=1e-6, err_msg=name
        )
    for name, theirs in (("mask", "mask"), ("calib_mask", "cmask")):
        np.testing.assert_array_equal(found[f"jungfrau1M_cfg/{name}"], known[theirs])
    assert (known["mask"] != known["cmask"]).any()


def test_only_constants_that_are_known_are_written():
    known = xr.Dataset({"x": (("y",), [1e-3, 2e-3]), "bad_pixels": (("y",), [0, 4])})
    out = lcls_constants(known)
    assert set(out) == {"x", "mask"}
    np.testing.assert_allclose(out["x"], [1000, 2000])
    assert out["mask"].tolist() == [1, 0]
    assert lcls_constants(xr.Dataset()) == {}


def test_images_come_with_assembled_constants(made):
    found, _ = read(made(detector={"image": True})[0])
    shape = found["jungfrau1M_data"].shape[1:]
    assert len(shape) == 2
    for name in ("ped", "rms", "gain", "mask", "calib_mask", "x", "y"):
        assert found[f"jungfrau1M_cfg/{name}"].shape == shape


# -- selection -----------------------------------------------------------------------


def test_selection_has_a_line_for_each_cut(made):
    _, attrs = read(made(laser="on", filters={"filter1": [["ipm2/sum", 100, 9000]]})[0])
    lines = attrs["cubeSelection"].splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"Cut {i}" for i in range(len(lines))
    ]
    assert lines[0] == "Cut 0: 100.000000 < ipm2/sum < 9000.000000"
    text = attrs["cubeSelection"]
    assert "-3.000000 < delay < 5.000000" in text
    assert "0.500000 < damage/jungfrau1M < 1.500000" in lines[-1]


def test_selection_has_strict_limits():
    cuts = parse_cuts(
        [("a", 0.5, 1.5), "b == 3", "c != 2", "1 < d < 2", ("e", 4, 4), "f > 7"]
    )
    assert selection_text(cuts).splitlines() == [
        "Cut 0: 0.500000 < a < 1.500000",
        "Cut 1: 2.500000 < b < 3.500000",
        "Cut 2: 2.000000 < c < 2.000000",
        "Cut 3: 1.000000 < d < 2.000000",
        "Cut 4: 4.000000 < e < 4.000000",
        "Cut 5: 7.000000 < f < inf",
    ]
    assert selection_text([]) == ""


# -- the file itself -----------------------------------------------------------------


def test_lazy_arrays_are_written_block_by_block(tmp_path):
    values = np.random.default_rng(3).normal(size=(6, 5, 4))
    lazy = da.from_array(values, chunks=(2, 5, 3))
    path = tmp_path / "cube.h5"
    constants = {"det": xr.Dataset({"pedestal": (("x",), np.arange(3.0))})}
    write_lcls_cube(
        path, {"det_data": lazy, "nEntries": np.arange(6)}, constants=constants,
        selection="Cut 0: é",
    )  # fmt: skip
    found, attrs = read(path)
    np.testing.assert_array_equal(found["det_data"], values)
    np.testing.assert_array_equal(found["nEntries"], np.arange(6))
    np.testing.assert_array_equal(found["det_cfg/ped"], np.arange(3.0))
    assert attrs == {"cubeSelection": "Cut 0: é"}


def test_failing_block_is_an_error(tmp_path):
    def fail(_):
        raise OSError(28, "No space left on device")

    lazy = da.ones((4, 3), chunks=2).map_blocks(fail, dtype=float, meta=np.ones((0, 0)))
    with pytest.raises((OSError, OutputError), match="No space left"):
        write_lcls_cube(
            tmp_path / "cube.h5", {"data": lazy}, constants={}, selection=""
        )
