"""Clusters and photon peaks: a plain loop, and scipy's fit."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import curve_fit

from tests.support.step_frames import bad_pixels, frames, plain
from xfelred import GeometryMismatchError, ops

NAMES = ("energy", "row", "col", "n_pixels", "is_square", "module")


def photon_frames(chunks=3, dtype=np.float32, layout="train", **options):
    """Noise of 0.3 adu with photons of 10 adu shared by neighbours."""
    da = frames(None, np.float32, layout, shape=(2, 20, 24), **options).copy()
    rng = np.random.default_rng(8)
    values = rng.normal(0, 0.3, da.shape)
    flat = values.reshape(-1, 2, 20, 24)
    for frame in flat:
        for _ in range(25):
            m, r, c = rng.integers(2), rng.integers(0, 19), rng.integers(0, 23)
            share = rng.dirichlet([4, 1, 1, 0.3]) * 10
            frame[m, r : r + 2, c : c + 2] += share.reshape(2, 2)
    da.values[...] = np.where(np.isnan(da.values), np.nan, values.round(3))
    da = (da * 8).round().astype(dtype) if np.dtype(dtype).kind in "iu" else da
    return da.chunk({da.dims[0]: chunks}) if chunks else da


def by_hand(frame, seed, neighbour, bad=None, modules=(2, 5)):
    out = []
    for m, image in enumerate(frame):
        x = np.where(np.isnan(image), -np.inf, image)
        if bad is not None:
            x = np.where(bad[m], -np.inf, x)
        for r in range(1, x.shape[0] - 1):
            for c in range(1, x.shape[1] - 1):
                box = x[r - 1 : r + 2, c - 1 : c + 2]
                if x[r, c] < seed or (box > x[r, c]).any():
                    continue
                part = box > neighbour
                part[1, 1] = True
                if part.sum() >= 6:
                    continue
                rows, cols = np.nonzero(part)
                v = box[part]
                square = np.ptp(rows) <= 1 and np.ptp(cols) <= 1
                centre = [(v * i).sum() / v.sum() - 1 for i in (rows, cols)]
                out.append(
                    [v.sum(), r + centre[0], c + centre[1], len(v), square, modules[m]]
                )
    return np.array(out).reshape(-1, 6)


def table(found, i):
    n = int(found.n_clusters.values.ravel()[i])
    columns = [found[k].values.reshape(-1, found.sizes["cluster"])[i] for k in NAMES]
    return np.array(columns, float).T[:n]


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
@pytest.mark.parametrize("layout", ["train", "frame"])
def test_clusters_are_those_of_a_loop(chunks, layout):
    da = photon_frames(chunks, layout=layout, missing=0.02)
    found = ops.find_clusters(da, seed=4, neighbour=0.9, max_clusters=60).compute()
    for i, frame in enumerate(plain(da)):
        wanted = by_hand(frame, 4, 0.9)
        assert len(wanted) > 10
        np.testing.assert_allclose(table(found, i), wanted, rtol=1e-6)
    assert found.energy.dims == (*da.dims[:-3], "cluster")
    np.testing.assert_array_equal(found.step, da.step)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float64])
def test_dtypes_and_bad_pixels(dtype):
    da = photon_frames(4, dtype)
    scale = 8 if np.dtype(dtype).kind in "iu" else 1
    bad = bad_pixels((2, 20, 24))
    found = ops.find_clusters(
        da, seed=4 * scale, neighbour=0.9 * scale, bad_pixels=bad
    ).compute()
    for i, frame in enumerate(plain(da)):
        wanted = by_hand(frame, 4 * scale, 0.9 * scale, bad.values[::-1])
        np.testing.assert_allclose(table(found, i), wanted, rtol=1e-9)


def test_further_clusters_are_only_counted():
    da = photon_frames(3)
    whole = ops.find_clusters(da, seed=4, neighbour=0.9).compute()
    few = ops.find_clusters(da, seed=4, neighbour=0.9, max_clusters=3).compute()
    np.testing.assert_array_equal(few.n_clusters_all, whole.n_clusters)
    assert (few.n_clusters == 3).all()
    xr.testing.assert_equal(few.energy, whole.energy[..., :3])


def test_padding():
    image = xr.DataArray(np.zeros((4, 4)), dims=("slow_scan", "fast_scan"))
    found = ops.find_clusters(image, seed=1, neighbour=0.1, max_clusters=2).compute()
    assert int(found.n_clusters) == int(found.n_clusters_all) == 0
    assert np.isnan(found.energy).all()
    assert np.isnan(found.row).all()
    assert (found.n_pixels == 0).all()
    assert not found.is_square.any()
    assert (found.seed_row == -1).all()


def test_rules_one_by_one():
    def count(image):
        da = xr.DataArray(np.asarray(image, float), dims=("slow_scan", "fast_scan"))
        return int(
            ops.find_clusters(da, seed=5, neighbour=1, max_clusters=9).n_clusters
        )

    image = np.zeros((5, 5))
    image[2, 2] = 5
    assert count(image) == 1  # a seed is not below the limit
    image[2, 3] = 6
    assert count(image) == 1  # the larger neighbour is the seed
    image[1:4, 1:4] = 2
    image[2, 2] = 9
    assert count(image) == 0  # too many pixels
    edge = np.zeros((5, 5))
    edge[0, 2] = edge[4, 4] = edge[2, 0] = 9
    assert count(edge) == 0  # at the border
    assert count(np.full((2, 2), 9)) == 0


def test_building_is_lazy_and_labelled(no_compute):
    da = photon_frames(3)
    with no_compute():
        out = ops.find_clusters(
            da, seed=4, neighbour=1, bad_pixels=bad_pixels((2, 20, 24))
        )
        fit = ops.fit_photon_peak(out, (2, 20, 24), modules=(2, 5))
    for name, v in {**out.data_vars, **fit.data_vars}.items():
        assert v.chunks is not None, name
        assert v.attrs["units"]
        assert v.attrs["long_name"]
    assert out.energy.attrs["units"] == "adu"
    names = [x.split()[0] for x in fit.attrs["history"].splitlines()]
    assert names == ["made", "find_clusters", "fit_photon_peak"]


def test_wrong_arguments():
    da = photon_frames(3)
    for options, text in (
        ({"seed": np.nan, "neighbour": 1}, "seed="),
        ({"seed": 1, "neighbour": np.inf}, "neighbour="),
        ({"seed": 1, "neighbour": 1, "max_clusters": 0}, "max_clusters"),
    ):
        with pytest.raises(ValueError, match=text):
            ops.find_clusters(da, **options)
    with pytest.raises(GeometryMismatchError, match="need slow_scan"):
        ops.find_clusters(da[..., 0], seed=1, neighbour=1)


# -- the photon peak -------------------------------------------------------------------


def gaussian(x, a, mu, s):
    return a * np.exp(-0.5 * ((x - mu) / s) ** 2)


def scipy_fit(values, bins, limits=None):
    counts, edges = np.histogram(values, bins, limits)
    some = (
        values
        if limits is None
        else values[(values >= limits[0]) & (values <= limits[1])]
    )
    start = (counts.max(), some.mean(), some.std())
    return curve_fit(gaussian, (edges[1:] + edges[:-1]) / 2, counts, start)[0]


@pytest.mark.parametrize("chunks", [None, 50, 333])
@pytest.mark.parametrize("limits", [None, (4.0, 9.0)])
def test_fit_is_that_of_scipy(chunks, limits):
    values = np.random.default_rng(2).normal(6.4, 0.5, 1000)
    da = xr.DataArray(values, dims="cluster")
    da = da.chunk(chunks) if chunks else da
    found = ops.fit_photon_peak(da, bins=60, range=limits).compute()
    wanted = scipy_fit(values, 60, limits)
    got = [found.amplitude, found.position, found.width]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert int(found["count"]) == 1000


def test_fit_of_every_pixel():
    rng = np.random.default_rng(3)
    n = 4000
    row, col, module = (
        rng.integers(0, 2, n),
        rng.integers(0, 3, n),
        rng.integers(0, 2, n),
    )
    energy = rng.normal(8 + row + 2 * module, 0.4, n)
    energy[row * 3 + col == 5] = np.nan
    numbers = np.array([7, 4])[module]
    clusters = xr.Dataset({
        "energy": ("cluster", energy), "module": ("cluster", numbers),
        "seed_row": ("cluster", row), "seed_col": ("cluster", col),
    })  # fmt: skip
    found = ops.fit_photon_peak(
        clusters.chunk(cluster=700), (2, 2, 3), modules=(7, 4), bins=25
    ).compute()
    assert found.position.dims == ("module", "slow_scan", "fast_scan")
    np.testing.assert_array_equal(found.module, [7, 4])
    for m, r, c in ((0, 0, 0), (1, 0, 2), (1, 1, 1)):
        some = energy[(module == m) & (row == r) & (col == c)]
        wanted = scipy_fit(some, 25)
        got = [found[k][m, r, c] for k in ("amplitude", "position", "width")]
        np.testing.assert_allclose(got, wanted, rtol=1e-4)
        assert found["count"][m, r, c] == len(some)
    assert (found["count"][:, 1, 2] == 0).all()
    assert np.isnan(found.position[:, 1, 2]).all()


def test_pixels_with_few_clusters_are_not_fitted():
    values = xr.DataArray([6.0, 6.1, 6.2, 5.9], dims="cluster")
    assert np.isnan(ops.fit_photon_peak(values).position)
    assert np.isnan(ops.fit_photon_peak(values * 0 + 1, min_clusters=3).position)
    assert int(ops.fit_photon_peak(values)["count"]) == 4


def test_from_frames_to_peaks_of_square_clusters():
    da = photon_frames(3)
    clusters = ops.find_clusters(da, seed=4, neighbour=0.9, max_clusters=60)
    square = clusters.where(clusters.is_square)
    found = ops.fit_photon_peak(square, (2, 20, 24), modules=(2, 5)).compute()
    assert int(found["count"].sum()) == int(clusters.is_square.sum())
    peak = ops.fit_photon_peak(square.energy, bins=40).compute()
    energies = square.energy.values
    wanted = scipy_fit(energies[~np.isnan(energies)], 40)
    np.testing.assert_allclose([peak.amplitude, peak.position], wanted[:2], rtol=1e-5)


def test_wrong_arguments_of_the_fit():
    values = xr.DataArray(np.ones(9), dims="cluster")
    for args, options, text in (
        ((values,), {"bins": 2}, "bins="),
        ((values,), {"min_clusters": 2}, "min_clusters"),
        ((values,), {"range": (3, 1)}, "low below high"),
        ((values.to_dataset(name="energy"),), {}, "have no module"),
        ((ops.find_clusters(photon_frames(3), seed=1, neighbour=1),), {}, "shape=None"),
    ):
        with pytest.raises(ValueError, match=text):
            ops.fit_photon_peak(*args, **options)
