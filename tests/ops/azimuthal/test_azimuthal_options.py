"""Options of azimuthal integration: splitting by area, dummies, sigma clipping."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import (
    GeometryMismatchError,
    InconsistentDataError,
    MissingConstantError,
)
from xfelred.geometry import Geometry, locate
from xfelred.geometry.locate import KEPT, LAST, remember
from xfelred.ops.azimuthal.integrate_azimuthally import integrate_azimuthally

SIDE = 60
PONI = {"poni1": 3.4e-3, "poni2": 2.6e-3}
TILT = {"rot1": 0.15, "rot2": -0.1, "rot3": 0.3}


def images(n=4, dtype=np.float32):
    rng = np.random.default_rng(2)
    return rng.poisson(200, (n, SIDE, SIDE)).astype(dtype)


def flat(n=4, dtype=np.float32, chunks=None):
    geometry = Geometry.flat((SIDE, SIDE), (25.3, 33.8), 0.05, 1e-4, energy=9e3)
    da = xr.DataArray(images(n, dtype), dims=("train", "slow_scan", "fast_scan"))
    da = locate(da, geometry)
    return da if chunks is None else da.chunk(train=chunks)


@pytest.fixture
def peer():
    """pyFAI's integrator of a tilted detector."""
    azimuthal = pytest.importorskip("pyFAI.integrator.azimuthal")
    return azimuthal.AzimuthalIntegrator(
        dist=0.05, pixel1=1e-4, pixel2=1e-4, wavelength=1.3e-10, **PONI, **TILT
    )


def tilted(tmp_path, ai):
    path = tmp_path / "tilted.poni"
    ai.save(str(path))
    da = xr.DataArray(images(), dims=("train", "slow_scan", "fast_scan"))
    return locate(da, Geometry.from_poni(path, shape=(SIDE, SIDE)))


def test_full_splitting_equals_pyfai(peer, tmp_path):
    da = tilted(tmp_path, peer)
    low, high = float(da.q.min()) - 0.1, float(da.q.max()) + 0.1
    out = integrate_azimuthally(
        da, 40, q_range=(low, high), split="full", polarization=0.9, errors="poisson"
    )
    for i in range(2):
        theirs = peer.integrate1d(
            da.values[i], 40, unit="q_A^-1", radial_range=(low, high),
            method=("full", "csr", "cython"), polarization_factor=0.9,
            error_model="poisson",
        )  # fmt: skip
        # pyFAI leaves a pixel that holds the beam in other bins.
        kept = theirs.radial > 0.15
        mine = out.isel(train=i).compute()
        np.testing.assert_allclose(mine["count"][kept], theirs.count[kept], atol=5e-3)
        full = kept & (theirs.count > 1)
        for ours, his in ((mine.intensity, theirs.intensity), (mine.sigma, theirs.sem)):
            np.testing.assert_allclose(ours[full], his[full], rtol=1e-3)


def test_full_splitting_shares_out_every_pixel():
    da = flat()
    for options in ({}, {"phi_bins": 7}):
        out = integrate_azimuthally(da, 30, split="full", **options).compute()
        total = out["count"].sum([d for d in out["count"].dims if d != "train"])
        np.testing.assert_allclose(total, SIDE**2, rtol=1e-9)


def test_full_splitting_of_modules_that_were_selected():
    shape = (3, 20, 20)
    geometry = Geometry.flat(shape, (-5, 30), 0.05, 1e-4, energy=9e3, modules=[1, 4, 6])
    da = xr.DataArray(
        np.random.default_rng(0).random((2, *shape)),
        {"module": [1, 4, 6]},
        ("train", "module", "slow_scan", "fast_scan"),
    )
    one = integrate_azimuthally(locate(da, geometry).sel(module=4), 9, split="full")
    same = integrate_azimuthally(
        locate(da, geometry.select_modules([4, 1, 6])).sel(module=[4]), 9, split="full"
    )
    np.testing.assert_allclose(one.intensity, same.intensity, rtol=1e-12)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("phi_bins", [None, 5])
def test_order_of_the_pixel_axes_does_not_matter(split, phi_bins):
    geometry = Geometry.flat((20, 30), (11.3, 7.8), 0.05, 1e-3, energy=9e3)
    values = np.random.default_rng(0).random((2, 20, 30))
    da = xr.DataArray(values, dims=("train", "slow_scan", "fast_scan"))
    expected = integrate_azimuthally(
        locate(da, geometry), 9, split=split, phi_bins=phi_bins
    )
    turned = locate(da, geometry).transpose("train", "fast_scan", "slow_scan")
    out = integrate_azimuthally(turned, 9, split=split, phi_bins=phi_bins)
    np.testing.assert_allclose(out.intensity, expected.intensity, rtol=1e-12)
    np.testing.assert_allclose(out["count"], expected["count"], rtol=1e-12)


def test_dummy_is_compared_as_the_file_holds_it():
    da = flat()
    da[:, 3, 4] = np.float32(-0.1)
    out = integrate_azimuthally(da, 12, dummy=-0.1)
    assert int(out["count"].sum("q").max()) == SIDE**2 - 1


def test_full_splitting_needs_the_geometry():
    da = flat()
    with pytest.raises(GeometryMismatchError, match="corners of selected pixels"):
        integrate_azimuthally(da[:, 5:20], 9, split="full")
    far = da.copy()
    far["two_theta"].attrs["geometry"] = "made elsewhere"
    with pytest.raises(MissingConstantError, match=r"not located.*geometry\.locate"):
        integrate_azimuthally(far, 9, split="full")
    rng = np.random.default_rng(0)
    where = np.mgrid[:SIDE, :SIDE] * 1e-4 + rng.normal(0, 3e-5, (2, SIDE, SIDE))
    loose = Geometry.from_positions(where[1], where[0], 0.05, energy=9e3)
    with pytest.raises(MissingConstantError, match="split='no'"):
        integrate_azimuthally(locate(da, loose), 9, split="full")


def test_only_the_last_geometries_are_kept():
    names = [remember(Geometry.flat((2, 2), (0, i), 0.1, 1e-4)) for i in range(20)]
    assert set(names[-KEPT:]) == set(LAST)


def test_what_is_kept_of_a_geometry_is_small():
    LAST.clear()
    where = np.mgrid[:300, :300] * 1e-4
    for geometry in (
        Geometry.flat((300, 300), (3, 4), 0.1, 1e-4),
        Geometry.from_positions(where[1], where[0], 0.1),
    ):
        geometry.centres  # noqa: B018  computed and kept by the geometry itself
        remember(geometry)
    assert all(len(pickle.dumps(vars(g))) < 10_000 for g in LAST.values())


def test_a_pickled_array_says_what_to_do_in_another_process(tmp_path):
    path = tmp_path / "located"
    path.write_bytes(pickle.dumps(flat()))
    code = (
        "import pickle, sys\n"
        "from xfelred import errors, ops\n"
        "da = pickle.load(open(sys.argv[1], 'rb'))\n"
        "try:\n"
        "    ops.integrate_azimuthally(da, 9, split='full')\n"
        "except errors.MissingConstantError as e:\n"
        "    sys.exit(0 if 'geometry.locate' in str(e) else 1)\n"
        "sys.exit(2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int32])
@pytest.mark.parametrize("delta", [0.0, 5.0])
def test_dummies_are_left_out_frame_by_frame(dtype, delta):
    da = flat(dtype=dtype, chunks=3)
    where = np.random.default_rng(3).random(da.shape) < 0.1
    value = 3 + delta if np.dtype(dtype).kind == "u" else -3 - delta
    spoilt = da.where(~where, np.array(value, dtype)).astype(dtype)
    out = integrate_azimuthally(spoilt, 12, dummy=value + delta, delta_dummy=delta)
    expected = integrate_azimuthally(da.astype("f8").where(~where), 12)
    np.testing.assert_array_equal(out["count"], expected["count"])
    np.testing.assert_allclose(out.intensity, expected.intensity, rtol=1e-12)


def clipped_by_hand(frame, bins, factor, threshold, repeats):
    """Mean and count of every ring without outliers, with plain numpy."""
    mean, count = [], []
    for b in range(bins.max() + 1):
        mine = bins == b
        signal, norm = frame[mine].astype(float), factor[mine]
        for _ in range(repeats):
            x = signal / norm
            centre = signal.sum() / norm.sum()
            width = np.sqrt((norm * (x - centre) ** 2).sum() / norm.sum())
            good = np.abs(x - centre) <= threshold * width
            if good.all():
                break
            signal, norm = signal[good], norm[good]
        mean.append(signal.sum() / norm.sum())
        count.append(len(signal))
    return mean, count


@pytest.mark.parametrize("repeats", [1, 5])
@pytest.mark.parametrize("chunks", [1, 3, None])
def test_sigma_clipping_equals_a_plain_loop(repeats, chunks):
    da = flat(chunks=chunks)
    hot = np.random.default_rng(4).random(da.shape) < 0.02
    da = da.where(~hot, 5000.0).astype(np.float32)
    out = integrate_azimuthally(da, 8, sigma_clip=3.0, max_iterations=repeats).compute()
    edges = out.q_edges.values
    bins = np.clip(np.searchsorted(edges, da.q.values, side="right") - 1, 0, 7)
    for i, frame in enumerate(da.values):
        mean, count = clipped_by_hand(frame, bins, da.solid_angle.values, 3.0, repeats)
        np.testing.assert_array_equal(out["count"][i], count)
        np.testing.assert_allclose(out.intensity[i], mean, rtol=1e-9)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_sigma_clipping_removes_hot_pixels(split):
    clean = flat(dtype=np.uint16)
    da = clean.copy()
    da[:, 10, 20] = 60000
    da[:, 40, 7] = 0
    options = {"split": split, "errors": "azimuthal", "normalization": "mean"}
    out = integrate_azimuthally(da, 10, sigma_clip=5.0, **options).compute()
    expected = integrate_azimuthally(clean, 10, **options).compute()
    # The two pixels are gone, which moves means by less than their errors.
    off = abs(out.intensity - expected.intensity) / expected.sigma
    assert float(off.max()) < 1
    lost = (expected["count"] - out["count"]).sum("q")
    assert float(lost.min()) >= 1
    raw = integrate_azimuthally(da, 10, **options).compute()
    assert float((abs(raw.intensity - expected.intensity) / expected.sigma).max()) > 3


def test_sigma_clipping_keeps_lonely_pixels_and_empty_bins():
    da = flat(n=1)
    far = integrate_azimuthally(da, [0.0, 0.001, 3.0, 9.0], sigma_clip=2.0).compute()
    assert np.isnan(far.intensity.values[0, [0, 2]]).all()
    assert far["count"].values[0, 0] == far["count"].values[0, 2] == 0


def test_options_are_in_the_history(no_compute):
    da = flat(chunks=2)
    with no_compute():
        out = integrate_azimuthally(
            da, 5, split="full", sigma_clip=4.0, dummy=-1, delta_dummy=0.5
        )
    assert '"sigma_clip": 4.0' in out.attrs["history"]
    assert '"split": "full"' in out.attrs["history"]
    assert '"dummy": -1' in out.attrs["history"]


N_SHOTS = 2000


@pytest.fixture(scope="module")
def few_pixels():
    """Photons of a flat sample on a small detector, 2 to 14 pixels in a bin."""
    geometry = Geometry.flat((11, 13), (5.8, 5.3), 0.01, 1e-3, energy=9e3)
    dims = ("train", "module", "slow_scan", "fast_scan")
    blank = xr.DataArray(np.zeros((N_SHOTS, 1, 11, 13)), dims=dims)
    da = locate(blank, geometry)
    expected = 12 * da.solid_angle
    counts = np.random.default_rng(0).poisson(expected.values, blank.shape)
    return da.copy(data=counts.astype(float)), expected.reset_coords(drop=True)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("normalization", ["ratio", "mean"])
@pytest.mark.parametrize("errors", ["poisson", "azimuthal", "variance"])
def test_pulls_have_unit_width_with_few_pixels_in_a_bin(
    few_pixels, split, normalization, errors
):
    da, expected = few_pixels
    given = {"variance": expected} if errors == "variance" else {"errors": errors}
    out = integrate_azimuthally(
        da, 16, split=split, normalization=normalization, **given
    ).compute()
    true = np.sqrt(((out.intensity - 12) ** 2).mean("train"))
    found = np.sqrt((out.sigma**2).mean("train"))
    # 1 / sqrt(2 * 2000) = 1.6 %, 3 standard deviations of the worst of 16 bins.
    np.testing.assert_allclose(true / found, 1, atol=0.05)


def test_variance_may_be_per_frame_per_pixel_both_or_one_number(no_compute):
    da = flat(n=5, chunks=2).assign_coords(train=[3, 5, 6, 8, 9])
    ones = xr.ones_like(da[0], dtype=float).compute().reset_coords(drop=True)
    per_frame = xr.DataArray(
        [1.0, 4.0, 9.0, 16.0, 2.0], {"train": [6, 5, 3, 8, 9]}, ("train",)
    )
    with no_compute():
        common = integrate_azimuthally(da, 6, variance=4.0)
        pixels = integrate_azimuthally(da, 6, variance=4 * ones)
        plain = integrate_azimuthally(da, 6, variance=np.full((SIDE, SIDE), 4.0))
        frames = integrate_azimuthally(da, 6, variance=per_frame)
        both = integrate_azimuthally(da, 6, variance=(per_frame * ones).chunk(train=3))
    by_hand = np.sqrt(4 * common["count"]) / common.norm
    for out in (common, pixels, plain):
        np.testing.assert_allclose(out.sigma, by_hand, rtol=1e-12)
    scale = np.array([9.0, 4.0, 1.0, 16.0, 2.0]) / 4
    for out in (frames, both):
        wanted = by_hand * np.sqrt(scale)[:, None]
        np.testing.assert_allclose(out.sigma, wanted, rtol=1e-12)
    assert '"variance": 4.0' in common.attrs["history"]


@pytest.mark.parametrize("split", ["no", "bbox"])
def test_sigma_of_given_variances_does_not_depend_on_chunks(split):
    da = flat(n=5)
    variance = xr.DataArray(
        np.random.default_rng(0).random(da.shape).astype("f4"), dims=da.dims
    )
    whole = integrate_azimuthally(da, 6, variance=variance, split=split).sigma
    for n in (1, 2):
        chunked = integrate_azimuthally(
            da.chunk(train=n), 6, variance=variance.chunk(train=3), split=split
        )
        np.testing.assert_array_equal(chunked.sigma, whole)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"variance": -1.0}, ValueError, "variance is negative, down to -1"),
        ({"variance": 1.0, "errors": "azimuthal"}, ValueError, "give one"),
        (
            {"variance": np.ones(7)},
            GeometryMismatchError,
            "variance is ndarray of shape",
        ),
        (
            {"variance": xr.DataArray([1.0, 2.0], dims="train")},
            InconsistentDataError,
            "variance has no train IDs",
        ),
        (
            {"variance": xr.DataArray([1.0], {"train": [77]}, ("train",))},
            GeometryMismatchError,
            "variance has train 77",
        ),
    ],
)
def test_variance_that_does_not_fit_is_an_error(options, error, says):
    da = flat(n=2).assign_coords(train=[1, 2])
    with pytest.raises(error, match=says):
        integrate_azimuthally(da, 6, **options)


def test_error_of_a_mean_of_images_is_that_of_the_variance_of_the_mean():
    rng = np.random.default_rng(1)
    da = flat(n=1)[0].copy(data=rng.poisson(20, (50, SIDE, SIDE)).mean(0))
    out = integrate_azimuthally(da, 8, variance=da / 50, errors="poisson")
    expected = np.sqrt(20 / 50 / out["count"])
    np.testing.assert_allclose(out.sigma, expected, rtol=0.05)
