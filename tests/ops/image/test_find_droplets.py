"""Droplets: scipy's labels, frame by frame, and smalldata_tools."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import xfelred as xf
from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError

GOLDEN = Path(__file__).parents[2] / "golden/data/lcls"
DIMS = ("train", "module", "slow_scan", "fast_scan")
MODULES = (2, 5)


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def sparse(dtype="f4", n=7, shape=(2, 24, 31)):
    """Frames with noise and charge that is spread over a few pixels."""
    rng = np.random.default_rng(11)
    frames = rng.normal(0, 1, (n, *shape))
    at = rng.random(frames.shape) < 0.03
    frames += ndimage.gaussian_filter(at * 200.0, (0, 0, 0.6, 0.6))
    frames[rng.random(frames.shape) < 0.01] = np.nan if dtype == "f4" else 0
    if dtype == "u2":
        frames = np.clip(frames, 0, None)
    coords = {"train": 30 + np.arange(n), "module": list(MODULES)}
    return xr.DataArray(frames.astype(dtype), coords, DIMS, attrs={"units": "adu"})


BAD = xr.DataArray(
    np.random.default_rng(3).random((2, 24, 31)) < 0.05,
    {"module": list(MODULES)},
    DIMS[1:],
)
NOISE = xr.DataArray(
    np.random.default_rng(4).uniform(0.5, 2, (2, 24, 31)),
    {"module": list(MODULES)},
    DIMS[1:],
)
CROSS = ndimage.generate_binary_structure(2, 1)


def by_hand(frame, bad, unit, high, low, min_adu, relabel):
    """Droplets of one frame: rows of (adu, npix, row, col, module), and of any sum."""
    rows, n_all = [], 0
    for m, image in enumerate(frame.astype(float)):
        image = np.where(bad[m] | np.isnan(image), 0, image)
        label, n = ndimage.label(np.where(image < high * unit[m], 0, image))
        if low != high:
            image = np.where(image < low * unit[m], 0, image)
            label = ndimage.maximum_filter(label, footprint=CROSS) * (image != 0)
            if relabel:
                label, n = ndimage.label(label)
        n_all += n
        for k in range(1, n + 1):
            own = np.where(label == k, image, 0)
            if own.sum() >= min_adu:
                centre = ndimage.center_of_mass(own)
                rows.append((own.sum(), (own != 0).sum(), *centre, MODULES[m]))
    return np.array(rows).reshape(-1, 5), n_all


CASES = [
    {"threshold": 20.0},
    {"threshold": 20.0, "threshold_low": 8.0, "min_adu": 60.0},
    {"threshold": 20.0, "threshold_low": 8.0, "relabel": False},
    {"threshold": 12.0, "threshold_low": 5.0, "noise": NOISE, "min_adu": 30.0},
]


@pytest.mark.parametrize("dtype", ["f4", "u2"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_droplets_are_those_of_scipy(case, dtype, no_compute):
    given, da = CASES[case], sparse(dtype)
    with no_compute():
        made = ops.find_droplets(da.chunk(train=3), bad_pixels=BAD, **given)
    found = made.compute()
    unit = given["noise"].values if "noise" in given else np.ones(BAD.shape)
    high, low = given["threshold"], given.get("threshold_low", given["threshold"])
    rest = given.get("min_adu", -np.inf), given.get("relabel", True)
    for t, frame in enumerate(da.values):
        wanted, n_all = by_hand(frame, BAD.values, unit, high, low, *rest)
        one, n = found.isel(train=t), len(wanted)
        assert (int(one.n_droplets), int(one.n_droplets_all)) == (n, n_all)
        assert n > 10
        for i, name in enumerate(("adu", "npix", "row", "col", "module")):
            np.testing.assert_allclose(one[name][:n], wanted[:, i], rtol=1e-9)
            rest_of = one[name][n:]
            none = rest_of == -1 if rest_of.dtype.kind == "i" else rest_of.isnull()
            assert none.all()


@pytest.mark.parametrize("chunks", [None, 1, 7])
def test_chunks_make_no_difference(chunks):
    def results(n):
        da = sparse().chunk(train=n) if n else sparse()
        given = {"threshold": 20, "threshold_low": 8, "bad_pixels": BAD}
        found = ops.find_droplets(da, **given, labels=True, max_droplets=60)
        photons = ops.droplets_to_photons(
            da, adu_per_photon=100, max_photons=80, **given
        )
        return found.compute(), photons.compute()

    for found, wanted in zip(results(chunks), results(3), strict=True):
        xr.testing.assert_identical(found, wanted)


@pytest.mark.parametrize("case", ["t5", "t5low2", "adu"])
def test_droplets_are_those_of_smalldata_tools(case):
    file = golden("droplet_2d")
    kwargs = json.loads(str(file[f"{case}__kwargs"]))
    da = xr.DataArray(file["image"], dims=DIMS[2:])
    noise = file["det_rms"] / file["det_gain"] if kwargs.get("useRms", True) else None
    found = ops.find_droplets(
        da,
        threshold=kwargs["threshold"],
        threshold_low=kwargs.get("thresholdLow"),
        min_adu=kwargs.get("thresADU"),
        noise=noise,
        bad_pixels=file["det_mask"] == 0,
        labels=True,
    ).compute()
    n = int(file[f"{case}__nDroplets"])
    assert int(found.n_droplets) == n
    assert int(found.n_droplets_all) == file[f"{case}__nDroplets_all"]
    names = {"adu": "data", "npix": "npix", "row": "row", "col": "col"}
    for name, theirs in names.items():
        np.testing.assert_allclose(
            found[name][:n], file[f"{case}__sparse_var_{theirs}"]
        )
    np.testing.assert_array_equal(found.labels, file[f"{case}__labels"])


def test_photons_of_droplets_are_those_of_smalldata_tools():
    file = golden("droplet_2d")
    found = ops.droplets_to_photons(
        xr.DataArray(file["image"], dims=DIMS[2:]),
        adu_per_photon=160,
        threshold=5,
        threshold_low=2,
        min_adu=60,
        noise=file["det_rms"] / file["det_gain"],
        bad_pixels=file["det_mask"] == 0,
    ).compute()
    n = int(found.n_photons)
    theirs = [file[f"d2p__droplet2phot_sparse_var_{k}"] for k in ("row", "col")]
    # They list droplets of one photon first.
    ours = sorted(zip(found.row.values[:n], found.col.values[:n], strict=True))
    np.testing.assert_allclose(ours, sorted(zip(*theirs, strict=True)))
    np.testing.assert_allclose(found.prob, file["d2p__droplet2phot_prob"])


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("thr0.9", {}),
        ("thr0.7", {"fraction": 0.7}),
        ("thresADU15_thr0.9", {"threshold": 15}),
    ],
)
def test_photons_in_pixels_are_those_of_psana(name, given, no_compute):
    file = golden("photons_2d")
    image = np.stack([file["image"], file["image"][::-1]])
    da = xr.DataArray(image, dims=("train", *DIMS[2:])).chunk(train=1)
    with no_compute():
        found = ops.count_photons(
            da, adu_per_photon=154, bad_pixels=file["mask"] == 0, **given
        )
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[0], file[name])


def test_photons_are_conserved_and_counted_where_there_is_no_room():
    da = sparse()
    found = ops.droplets_to_photons(da, adu_per_photon=50, threshold=20).compute()
    table = ops.to_table(found)
    assert table.sizes["entry"] == found.n_photons.sum()
    counts = found.prob[:, -1] * (da.notnull().sum(DIMS[1:]))
    np.testing.assert_allclose(counts, found.n_photons, rtol=1e-9)
    np.testing.assert_allclose(found.prob[:, :-1].sum("prob"), 1)
    few = ops.droplets_to_photons(da, adu_per_photon=50, threshold=20, max_photons=3)
    np.testing.assert_array_equal(few.n_photons, found.n_photons)
    np.testing.assert_array_equal(few.row, found.row[:, :3])
    few = ops.find_droplets(da, threshold=20, max_droplets=1)
    assert (few.n_droplets > 1).all()
    assert ops.to_table(few).sizes["entry"] == len(da)


def test_a_blob_that_is_saturated_is_counted_only():
    frame = np.zeros((9, 9))
    frame[2:5, 2:5], frame[7, 7] = 1e9, 60
    da = xr.DataArray(frame, dims=DIMS[2:])
    found = ops.droplets_to_photons(da, adu_per_photon=50).compute()
    assert int(found.n_photons) == 9e9 / 50 + 1
    assert found.row.notnull().sum() == 1
    assert int(ops.find_droplets(da, max_pixel=1e6).n_droplets) == 1


def test_tables_have_the_labels_of_frames():
    da = sparse().expand_dims(pulse=[0, 4]).transpose("train", "pulse", ...)
    found = ops.find_droplets(da, threshold=20)
    table = ops.to_table(found)
    assert set(table.coords) == {"train", "pulse"}
    first = table.isel(entry=(table.train == 31) & (table.pulse == 4))
    n = int(found.n_droplets.sel(train=31, pulse=4))
    np.testing.assert_array_equal(first.adu, found.adu.sel(train=31, pulse=4)[:n])
    with pytest.raises(ArgumentError, match="a table is made of one of"):
        ops.to_table(found[["n_droplets"]])


def test_frames_without_anything_and_no_frames():
    da = xr.zeros_like(sparse())
    found = ops.find_droplets(da)
    assert (found.n_droplets == 0).all()
    assert ops.to_table(found).sizes["entry"] == 0
    assert ops.find_droplets(da[:0]).sizes["train"] == 0
    assert ops.count_photons(da[:0], adu_per_photon=5).shape[0] == 0
    dark = ops.droplets_to_photons(da.where(False), adu_per_photon=5)
    assert dark.prob.isnull().all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"threshold": 0}, "above 0"),
        ({"threshold": 5, "threshold_low": 6}, "exchange them"),
        ({"threshold_low": np.nan}, "above 0"),
        ({"max_droplets": 0}, "1 or more"),
    ],
)
def test_limits_that_make_no_sense_are_errors(given, words):
    with pytest.raises(ArgumentError, match=words):
        ops.find_droplets(sparse(), **given)
    with pytest.raises(ArgumentError, match="adu_per_photon"):
        ops.droplets_to_photons(sparse(), adu_per_photon=0)
    with pytest.raises(ArgumentError, match="fraction"):
        ops.count_photons(sparse(), adu_per_photon=5, fraction=0.1)
    with pytest.raises(GeometryMismatchError):
        ops.find_droplets(sparse(), noise=np.ones((3, 3)))


NAN = float("nan")


@pytest.mark.parametrize(
    "call",
    [
        lambda da: ops.find_droplets(da, min_adu=NAN),
        lambda da: ops.find_droplets(da, max_pixel=NAN),
        lambda da: ops.count_photons(da, adu_per_photon=5, threshold=NAN),
        lambda da: ops.project(da, threshold=(1, NAN)),
        lambda da: ops.project(da, noise=NOISE, noise_sigma=NAN),
        lambda da: ops.roi(da, threshold=NAN),
    ],
)
def test_nan_is_no_limit(call):
    with pytest.raises(ArgumentError, match="nan is no limit"):
        call(sparse())


def test_pixels_without_noise_are_bad():
    da = sparse()
    noise = NOISE.where(~BAD, 0)
    given = {"threshold": 12, "threshold_low": 5}
    found = ops.find_droplets(da, noise=noise, **given).compute()
    wanted = ops.find_droplets(da, noise=NOISE, bad_pixels=BAD, **given).compute()
    xr.testing.assert_equal(found, wanted)


def test_marks_of_gaps_are_no_tasks_of_dask():
    da = sparse().assign_coords(recorded=("train", np.arange(7) != 2))
    whole = ops.find_droplets(da.chunk(train=1), threshold=20)
    layers = whole.adu.data.dask.layers
    assert not any("invert" in str(name) for name in layers)
    assert int(whole.n_droplets[2]) == 0
    missing = xr.DataArray(np.ones((7, 2), bool), dims=("train", "module"))
    missing[3, 1] = False
    da = sparse().assign_coords(available=missing)
    values = xr.DataArray(np.arange(7.0), {"train": da.train}, "train")
    bins = {"at": xf.Bins(edges=[0, 4, 8], values=values)}
    binned = ops.bin_frames(da.chunk(train=1).rename("f"), bins)
    assert not any("invert" in str(name) for name in binned.f_sum.data.dask.layers)
    np.testing.assert_array_equal(binned.f_count.max(DIMS[2:]), [[4, 3], [3, 3]])
