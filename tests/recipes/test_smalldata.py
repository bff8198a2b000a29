"""Small data by a recipe: what is in the file, against loops over the frames."""

import json
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.errors import ArgumentError, ConfigError, SelectionEmptyError
from xfelred.recipes.reduce_run import reduced
from xfelred.recipes.smalldata_plan import smalldata_plan
from xfelred.recipes.write_cube import How
from xfelred.synth.lcls import write_smalldata

N = 24
SHAPE = (2, 6, 8)
REGION = {"function": "roi", "name": "ROI_0", "bounds": [[0, 1], [1, 5], [2, 7]]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=N, shape=SHAPE, n_banks=2, without_image=0.15)
    return path


@pytest.fixture
def run(source):
    return xf.open_run(source)


def recipe(*functions, sums=(), block_trains=10, detector=None, **more):
    spec = {"functions": list(functions), "sums": list(sums), **(detector or {})}
    return {
        "schema_version": 1,
        "kind": "smalldata",
        "detectors": {"jungfrau1M": spec},
        "execution": {"block_trains": block_trains},
        **more,
    }


def stored(path):
    """Every dataset of a file by its name."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def frames_of(run, name="jungfrau1M"):
    """Frames without bad pixels (event, module, row, col), NaN for lost ones."""
    da = run.frames(name)
    return da.where(da.available).values[:, 0].astype(float)


# -- the numbers -----------------------------------------------------------------------


def test_regions_and_what_is_below_them_are_those_of_a_loop(run, tmp_path):
    tree = {
        **REGION,
        "write_area": True,
        "threshold": 2.0,
        "functions": [
            {"function": "project", "name": "pj", "axis": "slow_scan"},
            {"function": "spectrum", "bins": [0, 20, 5]},
        ],
    }
    out = stored(xf.reduce_run(run, recipe(tree), tmp_path))
    frames = frames_of(run)
    assert np.isnan(frames).all((1, 2, 3)).any(), "some shots have no frame"
    for i, frame in enumerate(frames):
        cut = frame[0:1, 1:5, 2:7]
        cut = np.where(cut < 2, 0, cut)
        if np.isnan(frame).all():
            assert np.isnan(out["jungfrau1M/ROI_0_sum"][i])
            assert np.isnan(out["jungfrau1M/ROI_0_area"][i]).all()
            assert (out["jungfrau1M/ROI_0_spectrum_histogram"][i] == -99999).all()
            continue
        np.testing.assert_allclose(out["jungfrau1M/ROI_0_sum"][i], np.nansum(cut))
        np.testing.assert_array_equal(out["jungfrau1M/ROI_0_area"][i], cut)
        lines = out["jungfrau1M/ROI_0_pj_data"][i]
        np.testing.assert_allclose(lines, np.nansum(cut, 1))
        counts, _ = np.histogram(cut[np.isfinite(cut)], np.linspace(0, 20, 6))
        np.testing.assert_array_equal(
            out["jungfrau1M/ROI_0_spectrum_histogram"][i], counts
        )


def test_sums_are_those_of_all_frames(run, tmp_path):
    names = ["calib", "calib_dropped", "calib_thresADU5", "calib_max", "calib_square",
             "calib_skip", "calib_img", "calib_bright_thresADU2.5"]  # fmt: skip
    made = recipe(sums=names, flags={"bright": "ipm2/sum > 2000"})
    out = stored(xf.reduce_run(run, made, tmp_path))
    ds = run.scalars(["lightStatus/xray", "ipm2/sum"])
    frames = frames_of(run)
    lost = np.isnan(frames).all((1, 2, 3))
    filled = np.nan_to_num(frames)
    bright = filled[(ds["ipm2/sum"] > 2000).values]
    expected = {
        "calib": filled.sum(0),
        "calib_dropped": filled[(ds["lightStatus/xray"] == 0).values].sum(0),
        "calib_thresADU5": np.where(filled < 5, 0, filled).sum(0),
        "calib_max": np.fmax.reduce(frames[~lost]),
        "calib_square": (filled**2).sum(0),
        "calib_skip": filled[~lost][1:].sum(0),
        "calib_bright_thresADU2.5": np.where(bright < 2.5, 0, bright).sum(0),
    }
    for name, values in expected.items():
        got = out[f"Sums/jungfrau1M_{name}"]
        np.testing.assert_allclose(got, values, rtol=1e-6, atol=1e-6, err_msg=name)
    constants = run.constants("jungfrau1M")
    image = out["Sums/jungfrau1M_calib_img"]
    got = image[constants["ix"].values, constants["iy"].values]
    np.testing.assert_allclose(got, expected["calib"], rtol=1e-6)


def test_each_function_gives_what_its_operation_gives(run, tmp_path):
    curve = {"function": "azimuthal", "name": "azav", "centre": [1e-4, 2e-4],
             "distance": 0.06, "energy": 9500, "q_step": 0.05, "n_phi": 2}  # fmt: skip
    functions = [
        REGION,
        curve,
        {"function": "rebin", "shape": [3, 4]},
        {"function": "lineout", "axis": "slow_scan", "index": 2},
        {"function": "autocorrelate"},
        {"function": "project", "axis": "fast_scan", "noise_sigma": 0.5},
        {"function": "photon_counts", "name": "ph", "adu_per_photon": 4.0},
        {"function": "image"},
    ]
    out = stored(xf.reduce_run(run, recipe(*functions), tmp_path))
    da = run.frames("jungfrau1M")
    there = da.available.any("module").values
    constants = run.constants("jungfrau1M")
    noise = constants["noise"][0] / constants["gain"][0]
    found = {
        "rebin_data": ops.rebin(da, (3, 4))["data"],
        "lineout_data": ops.lineout(da, "slow_scan", 2)["data"],
        "autocorrelate_acf": ops.autocorrelate(da),
        "project_data": ops.project(da, "fast_scan", noise=noise, noise_sigma=0.5)[
            "data"
        ],
        "ROI_0_com": ops.roi(da, REGION["bounds"])["com"],
        "ph_nPhot": ops.count_photons(da, adu_per_photon=4.0).sum(
            ("module", "slow_scan", "fast_scan")
        ),
    }
    for name, values in found.items():
        got, wanted = out[f"jungfrau1M/{name}"], values.values[:, 0]
        np.testing.assert_array_equal(got[there], wanted[there], err_msg=name)
        fill = np.isnan(got) if got.dtype.kind == "f" else got == -99999
        assert fill[~there].all(), name
    assert out["jungfrau1M/azav_azav"].shape[:2] == (N, 2)
    pixel = constants["ix"].values[1, 2, 3], constants["iy"].values[1, 2, 3]
    np.testing.assert_array_equal(
        out["jungfrau1M/image_img"][(slice(None), *pixel)], frames_of(run)[:, 1, 2, 3]
    )


def spotted(run):
    """Frames with some spots on a few shots of the run, in another order."""
    ids = np.asarray(run.train_ids)[[7, 3, 12, 5, 20]]
    frames = np.zeros((5, 1, 1, 12, 14), np.float32)
    frames[0, 0, 0, 3, 4:6] = 100, 60
    frames[1, 0, 0, 8, 9] = 320
    frames[1, 0, 0, 2, 2] = 150
    frames[4, 0, 0, 11, 13] = 90
    dims = ("train", "pulse", "module", "slow_scan", "fast_scan")
    return xr.DataArray(frames, {"train": ids, "pulse": [0], "module": [0]}, dims)


@pytest.mark.parametrize("n", [None, 0, 3])
def test_droplets_and_photons_are_stored_as_tables(run, tmp_path, n):
    frames = spotted(run)
    tree = {
        "function": "droplets", "name": "droplet", "threshold": 50.0,
        "threshold_low": 20.0, "use_noise": False, "max_droplets": 50,
        "functions": [
            {"function": "sparsify", "name": "sparse", "n": n},
            {"function": "photons", "name": "d2p", "adu_per_photon": 160.0,
             "max_photons": 50,
             "functions": [{"function": "sparsify", "name": "sparse", "n": n}]},
        ],
    }  # fmt: skip
    made = recipe(detectors={"epix_2": {"functions": [tree]}})
    path = xf.reduce_run(run, made, tmp_path, frames={"epix_2": frames})
    out = stored(path)
    found = np.full(N, -99999)
    found[[7, 3, 12, 5, 20]] = 1, 2, 0, 0, 1
    np.testing.assert_array_equal(out["epix_2/droplet_nDroplets"], found)
    adu = [150, 320, 160, 90]  # of shots 3, 3, 7, 20
    if n == 3:
        got = out["epix_2/droplet_sparse_data"]
        np.testing.assert_array_equal(got[3], [150, 320, 0])
        np.testing.assert_array_equal(out["epix_2/droplet_sparse_col"][3], [2, 9, 0])
        assert np.isnan(got[0]).all()
        return
    lengths = np.maximum(found, 0)
    if n == 0:
        got = out["epix_2/ragged_droplet_sparse_data"]
        assert [len(v) for v in got] == lengths.tolist()
        np.testing.assert_array_equal(np.concatenate(got), adu)
        table = xf.open_run(path).table("epix_2/ragged_droplet_sparse_data")
    else:
        np.testing.assert_array_equal(out["epix_2/var_droplet_sparse_len"], lengths)
        np.testing.assert_array_equal(out["epix_2/var_droplet_sparse/data"], adu)
        np.testing.assert_array_equal(
            out["epix_2/var_droplet_sparse/npix"], [1, 1, 2, 1]
        )
        col = [2, 9, (4 * 100 + 5 * 60) / 160, 13]
        np.testing.assert_allclose(out["epix_2/var_droplet_sparse/col"], col)
        # Photons of 160 adu: one, two in one pixel, one, one.
        counts = np.zeros(N, int)
        counts[[3, 7, 20]] = 3, 1, 1
        np.testing.assert_array_equal(out["epix_2/var_droplet_d2p_sparse_len"], counts)
        assert out["epix_2/droplet_d2p_prob"].shape == (N, 12)
        table = xf.open_run(path).table("epix_2/var_droplet_sparse")
    assert table.sizes["entry"] == 4
    np.testing.assert_array_equal(table.train, np.asarray(run.train_ids)[[3, 3, 7, 20]])


def test_droplets_without_room_are_counted_and_told(run, tmp_path):
    ids = np.asarray(run.train_ids)[:2]
    frames = np.zeros((2, 1, 1, 20, 30), np.float32)
    frames[0, ..., ::2, ::2] = 9
    dims = ("train", "pulse", "module", "slow_scan", "fast_scan")
    da = xr.DataArray(frames, {"train": ids, "pulse": [0], "module": [0]}, dims)
    tree = {
        "function": "droplets", "name": "d", "use_noise": False, "max_droplets": 100,
        "functions": [{"function": "sparsify", "name": "s"}],
    }  # fmt: skip
    made = recipe(detectors={"epix_2": {"functions": [tree]}})
    with pytest.warns(UserWarning, match="has 100 entries, but 150 were found"):
        path = xf.reduce_run(run, made, tmp_path, frames={"epix_2": da})
    out = stored(path)
    assert out["epix_2/d_nDroplets"][0] == 150
    assert len(out["epix_2/var_d_s/data"]) == out["epix_2/var_d_s_len"].sum() == 100


def test_pixels_that_are_lit_are_stored_as_a_table(run, tmp_path):
    sparse = {"function": "sparsify", "name": "lit"}
    made = recipe({**REGION, "threshold": 1.0, "functions": [sparse]}, block_trains=N)
    out = stored(xf.reduce_run(run, made, tmp_path))
    cut = frames_of(run)[:, 0, 1:5, 2:7]
    lit = cut >= 1
    above = "jungfrau1M/var_ROI_0_lit"
    np.testing.assert_array_equal(out[f"{above}_len"], lit.sum((1, 2)))
    np.testing.assert_array_equal(out[f"{above}/data"], cut[lit])
    np.testing.assert_array_equal(out[f"{above}/col"], np.nonzero(lit)[2])
    np.testing.assert_array_equal(out[f"{above}/tile"], np.zeros(lit.sum()))


def test_values_of_shots_are_copied_and_calculated(run, tmp_path):
    ids = np.asarray(run.train_ids)
    mine = xr.DataArray(np.arange(5.0), {"train": ids[4::-1]}, ("train",))
    made = recipe(
        variables=["ipm2/*", "lightStatus/xray"],
        user={
            "ratio": "`ipm2/sum` / max(`ipm3/sum`, 1)",
            "each": "-`ipm2/channels`**2",
        },
        epics={"intensity": "ipm3/sum"},
        detectors={},
    )
    path = xf.reduce_run(run, made, tmp_path, user={"mine": mine})
    out = stored(path)
    ds = run.scalars(["ipm2/sum", "ipm3/sum", "ipm2/channels", "lightStatus/xray"])
    ratio = ds["ipm2/sum"].values / np.maximum(ds["ipm3/sum"].values, 1)
    np.testing.assert_array_equal(out["userValues/ratio"], ratio)
    # numpy 1.26 has squares of its own in the last bit.
    squares = ds["ipm2/channels"].values ** 2
    np.testing.assert_allclose(out["userValues/each"], -squares, rtol=1e-15)
    np.testing.assert_array_equal(out["userValues/mine"][:5], [4, 3, 2, 1, 0])
    assert np.isnan(out["userValues/mine"][5:]).all()
    np.testing.assert_array_equal(out["epics/intensity"], ds["ipm3/sum"])
    again = xf.open_run(path)
    assert again.train_ids == run.train_ids
    assert again.run_id == run.run_id
    xr.testing.assert_equal(again.scalars(["ipm2/*"]), run.scalars(["ipm2/*"]))


def test_the_light_is_told_by_event_codes(run, tmp_path):
    codes = [n for n in run.per_event() if n.startswith("evr/code_")]
    made = recipe(
        detectors={},
        variables=["lightStatus/xray"],
        light_status={"xray": [162], "laser": "ipm2/sum > 2000"},
    )
    if "evr/code_162" not in codes:
        with pytest.raises(ConfigError, match=r"light_status.xray: .*event code 162"):
            smalldata_plan(run, made)
        made["light_status"]["xray"] = [int(c.rpartition("_")[2]) for c in codes[:1]]
    out = stored(xf.reduce_run(run, made, tmp_path))
    number = made["light_status"]["xray"][0]
    seen = run.scalars([f"evr/code_{number}"])[f"evr/code_{number}"]
    np.testing.assert_array_equal(out["lightStatus/xray"], (seen == 0).astype(int))
    bright = run.scalars(["ipm2/sum"])["ipm2/sum"] > 2000
    np.testing.assert_array_equal(out["lightStatus/laser"], bright.astype(int))


def test_constants_and_parameters_are_kept(run, tmp_path):
    path = xf.reduce_run(run, recipe(REGION), tmp_path)
    out = stored(path)
    np.testing.assert_array_equal(
        out["UserDataCfg/jungfrau1M/ROI_0__ROI_0_bounds"], REGION["bounds"]
    )
    one, two = (r.constants("jungfrau1M") for r in (run, xf.open_run(path)))
    for name in ("pedestal", "noise", "bad_pixels", "x", "y", "z", "ix", "iy"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-12, err_msg=name)


# -- blocks ----------------------------------------------------------------------------

EVERYTHING = recipe(
    {**REGION, "functions": [{"function": "spectrum", "bins": [0, 20, 5]}]},
    {"function": "droplets", "name": "drop", "threshold": 0.5, "max_droplets": 60,
     "functions": [{"function": "sparsify", "name": "sparse"}]},
    sums=["calib", "calib_max", "calib_square"],
    variables=["ipm2/sum"],
)  # fmt: skip


def same(one, two):
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert np.asarray(values).tobytes() == np.asarray(two[name]).tobytes(), name


def test_an_interrupted_call_goes_on_and_has_the_same_bits(run, tmp_path):
    whole = stored(xf.reduce_run(run, EVERYTHING, tmp_path / "whole"))

    def stop(done, n):
        if done == 2:
            raise KeyboardInterrupt

    how = How(scheduler="synchronous")
    with dask.config.set(num_workers=1), pytest.raises(KeyboardInterrupt):
        reduced(run, EVERYTHING, tmp_path / "part", how, report=stop)
    assert (tmp_path / "part" / f"{run.run_id}.inprogress").is_dir()
    result = reduced(run, EVERYTHING, tmp_path / "part", How())
    assert (result.blocks, result.computed, result.reused) == (3, 1, 2)
    same(whole, stored(result.paths[0]))
    again = reduced(run, EVERYTHING, tmp_path / "part", How())
    assert (again.computed, again.reused) == (0, 3)


def test_frames_are_read_once(run, tmp_path, monkeypatch):
    seen = []
    original = xr.DataArray.compute

    def counted(self, **options):
        if "slow_scan" in self.dims and options.get("scheduler") == "synchronous":
            seen.append(self.sizes["train"])
        return original(self, **options)

    monkeypatch.setattr(xr.DataArray, "compute", counted)
    xf.reduce_run(run, EVERYTHING, tmp_path, scheduler="synchronous")
    assert sum(seen) == int(run.frames("jungfrau1M").available.any("module").sum())


# -- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{function: rio}", "line 6.*no function 'rio'.*Did you mean 'roi'"),
        (
            "{function: roi, bound: 1}",
            "line 6.*bound: roi has no.*Did you mean 'bounds'",
        ),
        ("{function: rebin}", "line 6.*rebin needs shape"),
        ("{function: azimuthal, distance: 1}", "line 6"),
        ("{function: azav_pyfai}", "line 6.*azav_pyfai needs poni_file"),
        ("{function: azav_pyfai, poni_file: a, int_units: q}", "line 6.*2th_deg"),
        ("{function: sparsify, n: -1}", "n is null, 0 or a number"),
        ("{function: roi, name: a/b}", "line 6.*'a/b' cannot be part"),
    ],
)
def test_mistakes_are_told_with_their_line(text, match):
    lines = ["schema_version: 1", "kind: smalldata", "detectors:", "  jungfrau1M:",
             "    functions:", f"      - {text}"]  # fmt: skip
    with pytest.raises(ConfigError, match=match):
        xf.SmallDataRecipe.from_text("\n".join(lines))


def test_frames_that_were_rounded_are_packed(run, tmp_path):
    tree = {"function": "compress", "max_error": 0.5,
            "functions": [{"function": "rebin", "shape": [3, 4]}]}  # fmt: skip
    path = xf.reduce_run(run, recipe(tree), tmp_path)
    da = run.frames("jungfrau1M")
    wanted = ops.compress(da, 0.5)
    with h5py.File(path) as file:
        data = file["jungfrau1M/compress_data"]
        assert data.compression == "gzip"
        np.testing.assert_array_equal(data, wanted["data"][:, 0])
        np.testing.assert_array_equal(
            file["jungfrau1M/compress_rebin_data"],
            ops.rebin(wanted["data"], (3, 4))["data"][:, 0],
        )


PONI = """Detector: Detector
Detector_config: {"pixel1": 0.0001, "pixel2": 0.0001}
Distance: 0.05
Poni1: 0.0007
Poni2: 0.0005
Wavelength: 1.3e-10
"""


@pytest.mark.parametrize("return2d", [False, True])
def test_curves_of_a_poni_file_are_those_of_the_image(run, tmp_path, return2d):
    (tmp_path / "cal.poni").write_text(PONI)
    curve = {"function": "azav_pyfai", "poni_file": "cal.poni", "npts": 12,
             "npts_az": 4, "int_units": "q_nm^-1", "return2d": return2d}  # fmt: skip
    path = tmp_path / "recipe.yml"
    path.write_text(json.dumps(recipe(curve)))
    out = stored(xf.reduce_run(run, path, tmp_path / "out"))
    ix, iy = (run.constants("jungfrau1M")[k].values.astype(int) for k in ("ix", "iy"))
    da = run.frames("jungfrau1M").isel(pulse=0)
    there = da.available.any("module").values
    image = np.full((N, ix.max() + 1, iy.max() + 1), np.nan)
    image[:, ix, iy] = da
    flat = xr.DataArray(image, dims=("train", "slow_scan", "fast_scan"))
    flat = xf.geometry.locate(
        flat, xf.geometry.Geometry.from_poni(tmp_path / "cal.poni")
    )
    options = {"phi_bins": 4} if return2d else {}
    wanted = ops.integrate_azimuthally(flat, 12, polarization=1.0, **options)
    got = {k: out[f"jungfrau1M/azav_pyfai_{k}"][there] for k in ("azav", "q")}
    np.testing.assert_allclose(got["azav"], wanted["intensity"][there], rtol=1e-12)
    assert (got["q"] == 10 * wanted["q"].values).all()
    assert ("jungfrau1M/azav_pyfai_az" in out) == return2d


def test_a_poni_file_that_is_not_there(run):
    with pytest.raises(ConfigError, match=r"functions\.0.*none\.poni"):
        smalldata_plan(
            run, recipe({"function": "azav_pyfai", "poni_file": "none.poni"})
        )


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"flags": {"a": "1 <"}}, "flags.a: cannot read"),
        ({"user": {"a": "`b` +"}}, "user.a: cannot read"),
        ({"user": {"a": "open(`b`)"}}, "no function 'open'"),
        ({"variable": []}, "unknown key.*Did you mean 'variables'"),
        ({"kind": "cube"}, "'cube' is no smalldata recipe"),
        ({"light_status": {"xray": [0]}}, "event codes are"),
        ({"output": {"formats": ["h5", "zarr", "h5"]}}, "formats.2: 'h5' is .* twice"),
    ],
)
def test_mistakes_outside_of_detectors(more, match):
    with pytest.raises(ConfigError, match=match):
        xf.SmallDataRecipe.from_dict(recipe(**more))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ([{**REGION, "bounds": [[0, 1], [50, 60], [2, 7]]}], "functions.0: .*no pixel"),
        ([{"function": "droplets", "threshold": 2.0, "threshold_low": 4.0,
           "use_noise": False}], "functions.0: .*threshold"),
        ([{**REGION, "threshold": [5, 1]}], "functions.0: .*low is above high"),
        ([{"function": "droplets", "use_noise": False, "max_droplets": 10**11}],
         "max_droplets makes room of .* GiB"),
        ([{"function": "azimuthal", "centre": [0, 0], "distance": 1, "energy": 9500,
           "q_step": 1e-9}], "q_step=1e-09 makes more than"),
        ([{"function": "azimuthal", "centre": [0, 0], "distance": 1, "energy": 9500,
           "q_step": 1e-3, "n_phi": 10**9}], "functions.0.n_phi: .*100000"),
        ([{"function": "azimuthal", "centre": [0, 0], "distance": 1, "energy": 9500,
           "q_edges": list(range(2000)), "n_phi": 10**4}], "1999 rings of 10000 sec"),
        ([{"function": "azav_pyfai", "poni_file": "a", "npts": 10**9}], "0.npts: "),
        ([{"function": "azav_pyfai", "poni_file": "a", "npts_az": 10**9}], "npts_az: "),
        ([{"function": "sparsify", "n": 10**12}], "functions.0: .*n makes room of"),
        ([{"function": "droplets", "use_noise": False,
           "functions": [{"function": "compress", "max_error": 1.0}]}],
         "functions.0.functions.0: .*compress makes nothing of droplets"),
        ([{"function": "project", "axis": "fast_scan", "name": "pj",
           "functions": [{"function": "sparsify"}]}], "lists of pixels need"),
        ([{"function": "waveform_fit", "templates": [1.0, 2.0]}], "functions.0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_run_is_told_before_frames_are_read(run, changed, match):
    with pytest.raises(ConfigError, match=match):
        smalldata_plan(run, recipe(*changed))


def test_names_that_the_run_lacks(run):
    with pytest.raises(ConfigError, match="Did you mean 'jungfrau1M'"):
        smalldata_plan(run, recipe(detectors={"jungfrau2M": {}}))
    with pytest.raises(ConfigError, match=r"sums.0: .*'dark' in 'calib_dark'"):
        smalldata_plan(run, recipe(sums=["calib_dark"]))
    with pytest.raises(ConfigError, match=r"user.a: .*ipm9/sum"):
        xf.reduce_run(run, recipe(user={"a": "`ipm9/sum`"}), "nowhere")
    with pytest.raises(SelectionEmptyError):
        smalldata_plan(run.select_trains(slice(0, 0)), recipe())


def test_results_that_would_have_one_name(run, tmp_path):
    inner = {**REGION, "name": "a", "functions": [{"function": "roi", "name": "b"}]}
    with pytest.raises(ConfigError, match=r"functions.1: another function makes 'a_b_"):
        smalldata_plan(run, recipe(inner, {"function": "roi", "name": "a_b"}))
    path = xf.reduce_run(run, recipe({"function": "roi", "name": "x"}), tmp_path)
    frames = {"jungfrau1M": run.frames("jungfrau1M")}
    again = recipe({"function": "roi", "name": "x"}, variables=["jungfrau1M/*"])
    with pytest.raises(ConfigError, match=r"jungfrau1M/x_com, .* in the file twice"):
        xf.reduce_run(xf.open_run(path), again, tmp_path / "new", frames=frames)


def test_the_run_itself_is_never_replaced(run):
    place = Path(run.files[0].path).parent
    with pytest.raises(ArgumentError, match="a file of the run itself"):
        xf.reduce_run(run, recipe(REGION), place, overwrite=True)


@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_blocks_without_frames_do_not_change_the_kind_of_sums(dtype, tmp_path):
    source = tmp_path / "xpptest01_Run0047.h5"
    write_smalldata(source, n_events=12, shape=(2, 6, 8), n_banks=2)
    run = xf.open_run(source)
    ids = run.train_ids
    rng = np.random.default_rng(2)
    values = rng.integers(0, 60_000, (6, 1, 2, 6, 8)).astype(dtype)
    dims = ("train", "pulse", "module", "slow_scan", "fast_scan")
    frames = xr.DataArray(values, {"train": ids[3:9]}, dims)
    sums = ["calib", "calib_max"]
    kinds = set()
    for n in (2, 12):
        made = recipe(
            detectors={"camera": {"sums": sums}}, execution={"block_trains": n}
        )
        path = xf.reduce_run(run, made, tmp_path / str(n), frames={"camera": frames})
        out = stored(path)
        kinds.add(tuple(out[f"Sums/camera_{name}"].dtype.str for name in sums))
        np.testing.assert_array_equal(out["Sums/camera_calib"], values.sum((0, 1)))
    assert len(kinds) == 1
