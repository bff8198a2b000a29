"""Azimuthal integration: formulas by hand, pyFAI, smalldata_tools, golden files."""

import warnings

import dask
import h5py
import numpy as np
import pytest
import xarray as xr

from xfelred import open_run
from xfelred.errors import GeometryMismatchError, MissingConstantError
from xfelred.geometry import Geometry, Panel, locate
from xfelred.lazy import partition
from xfelred.ops.azimuthal.integrate_azimuthally import integrate_azimuthally

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
SHAPE = (7, 2, 2, 9, 11)
MODULES = (3, 8)


def geometry(**kwargs):
    y, x = np.mgrid[:9, :11] * 1e-3
    x = np.stack([x - 0.0123, x + 0.0004])
    y = np.stack([y - 0.0051, y - 0.0047])
    options = {"energy": 9e3, "modules": MODULES, **kwargs}
    return Geometry.from_positions(x, y, 0.05, **options)


def frames(chunks=3, dtype=np.float32, missing=0.0):
    rng = np.random.default_rng(1)
    values = rng.poisson(30, SHAPE).astype(dtype)
    if missing:
        values[rng.random(SHAPE) < missing] = np.nan
    coords = {"train": 1000 + np.arange(7), "pulse": [0, 4], "module": list(MODULES)}
    attrs = {"units": "photon", "history": "made {}"}
    da = xr.DataArray(values, coords, DIMS, attrs=attrs)
    return da.chunk(train=chunks) if chunks else da


def by_hand(da, edges, *, weight=1.0, phi_edges=None, bad=None, unit="q"):
    """Sums of numpy's histogram, one frame after the other: (signal, norm, count)."""
    axis = da[unit].values
    weight = np.broadcast_to(weight, axis.shape)
    out = []
    for frame in da.values.reshape(-1, *axis.shape).astype(float):
        good = ~np.isnan(frame)
        if bad is not None:
            good &= bad == 0
        sums = []
        for w in (frame[good], weight[good], None):
            if phi_edges is None:
                sums.append(np.histogram(axis[good], edges, weights=w)[0])
            else:
                phi = np.mod(da.phi.values - phi_edges[0], 2 * np.pi) + phi_edges[0]
                bins = (phi_edges, edges)
                sums.append(np.histogram2d(phi[good], axis[good], bins, weights=w)[0])
        out.append(sums)
    shape = (*da.shape[:2], *out[0][0].shape)
    return [np.array(o).reshape(shape) for o in zip(*out, strict=True)]


def ratio(signal, norm):
    return np.divide(signal, norm, out=np.full(signal.shape, np.nan), where=norm > 0)


@pytest.mark.parametrize("chunks", [1, 3, 7, None])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_result_does_not_depend_on_chunks(chunks, missing):
    da = locate(frames(chunks, missing=missing), geometry())
    edges = np.linspace(0.2, 1.0, 15)
    out = integrate_azimuthally(da, edges, errors="poisson").compute()
    signal, norm, count = by_hand(da, edges, weight=da.solid_angle.values)
    np.testing.assert_allclose(out.intensity, ratio(signal, norm), rtol=1e-12)
    np.testing.assert_allclose(out.norm, norm, rtol=1e-12)
    np.testing.assert_array_equal(out["count"], count)
    np.testing.assert_allclose(out.sigma, ratio(np.sqrt(signal), norm), rtol=1e-12)
    whole = locate(frames(7, missing=missing), geometry())
    same = integrate_azimuthally(whole, edges, errors="poisson").compute()
    xr.testing.assert_identical(out, same)


def test_building_computes_nothing(no_compute):
    da = locate(frames(), geometry())
    bad = xr.DataArray(
        dask.array.zeros(SHAPE[2:], dtype=np.uint32, chunks=(1, 9, 11)), dims=DIMS[2:]
    )
    with no_compute():
        out = integrate_azimuthally(da, 20, phi_bins=4, split="bbox", bad_pixels=bad)
    assert all(v.chunks is not None for v in out.data_vars.values())


def test_result_is_labelled():
    da = locate(frames(), geometry())
    out = integrate_azimuthally(da, 10, phi_bins=4, errors="azimuthal")
    assert out.intensity.dims == ("train", "pulse", "phi", "q")
    assert out.sizes == {
        "train": 7, "pulse": 2, "phi": 4, "q": 10, "q_edge": 11, "phi_edge": 5,
    }  # fmt: skip
    np.testing.assert_array_equal(out.train, da.train)
    np.testing.assert_array_equal(out.pulse, da.pulse)
    np.testing.assert_allclose(out.q, (out.q_edges[:-1] + out.q_edges[1:].values) / 2)
    np.testing.assert_allclose(out.phi, np.pi * np.array([-0.75, -0.25, 0.25, 0.75]))
    assert out.q.attrs["units"] == "1/angstrom"
    assert out.phi.attrs["units"] == "rad"
    assert out.intensity.attrs["units"] == out.sigma.attrs["units"] == "photon"
    assert out["count"].attrs["units"] == "1"
    assert out["count"].dtype == np.int64
    assert out.intensity.dtype == np.float64
    assert all("long_name" in out[name].attrs for name in [*out.data_vars, "q", "phi"])
    lines = out.attrs["history"].splitlines()
    assert [line.split()[0] for line in lines] == [
        "made", "locate", "integrate_azimuthally",
    ]  # fmt: skip
    assert '"errors": "azimuthal"' in lines[-1]


def test_sigma_is_there_only_with_an_error_model():
    da = locate(frames(), geometry())
    assert set(integrate_azimuthally(da, 5).data_vars) == {"intensity", "count", "norm"}


def test_all_frame_layouts_give_the_same():
    da = locate(frames(), geometry())
    expected = integrate_azimuthally(da, 10).intensity.values
    stacked = da.stack(frame=("train", "pulse")).reset_index("frame", drop=True)
    stacked = stacked.transpose("frame", ...)
    out = integrate_azimuthally(stacked, 10).intensity
    assert out.dims == ("frame", "q")
    np.testing.assert_array_equal(out, expected.reshape(14, 10))
    pixels_first = integrate_azimuthally(da.transpose(*DIMS[2:], *DIMS[:2]), 10)
    np.testing.assert_array_equal(pixels_first.intensity, expected)
    one = integrate_azimuthally(da[2, 1], 10).intensity
    np.testing.assert_array_equal(one, expected[2, 1])


def test_default_range_is_that_of_the_geometry_whatever_is_bad_or_absent():
    da = locate(frames(), geometry())
    whole = integrate_azimuthally(da, 10).q_edges.values
    assert whole[0] == da.q.min()
    assert whole[-1] == da.q.max()
    bad = da.q > 0.5
    part = locate(frames().sel(module=[8]), geometry())
    for out in (
        integrate_azimuthally(da, 10, bad_pixels=bad),
        integrate_azimuthally(part, 10),
        integrate_azimuthally(da.where(da.q < 0.4), 10),
    ):
        np.testing.assert_array_equal(out.q_edges, whole)
    assert int(integrate_azimuthally(da, 10)["count"][0, 0].sum()) == 198


def test_range_may_be_given():
    da = locate(frames(), geometry())
    out = integrate_azimuthally(da, 8, q_range=(0.2, 0.6))
    np.testing.assert_allclose(out.q_edges, np.linspace(0.2, 0.6, 9))


def test_last_edge_is_inclusive_and_the_rest_half_open():
    da = locate(frames(), geometry())
    values = np.unique(da.q)
    out = integrate_azimuthally(da, [values[0], values[5], values[9]])
    inside = da.q.values
    expected = [
        ((inside >= values[0]) & (inside < values[5])).sum(),
        ((inside >= values[5]) & (inside <= values[9])).sum(),
    ]
    np.testing.assert_array_equal(out["count"][0, 0], expected)


def test_empty_bin_is_nan_with_count_0():
    da = locate(frames(), geometry())
    out = integrate_azimuthally(da, [0.0, 1e-3, 0.5, 50.0, 60.0], errors="poisson")
    np.testing.assert_array_equal(out["count"][0, 0, [0, 3]], 0)
    np.testing.assert_array_equal(out.norm[0, 0, [0, 3]], 0)
    assert np.isnan(out.intensity[..., [0, 3]]).all()
    assert np.isnan(out.sigma[..., [0, 3]]).all()
    assert np.isfinite(out.intensity[..., [1, 2]]).all()


@pytest.mark.parametrize(
    "phi_edges",
    [
        np.deg2rad([-90, -30, 10, 90]),
        np.deg2rad([150, 170, 190, 210]),  # across 180 degrees
        np.deg2rad([150, 210]) + 4 * np.pi,
        np.deg2rad([20, 140, 260, 380]),
    ],
)
def test_sectors_wrap_round_the_circle(phi_edges):
    da = locate(frames(), geometry())
    edges = np.linspace(0.2, 1.0, 6)
    out = integrate_azimuthally(da, edges, phi_bins=phi_edges, solid_angle=False)
    signal, norm, count = by_hand(da, edges, phi_edges=phi_edges)
    assert count.sum() > 0
    np.testing.assert_array_equal(out["count"], count)
    np.testing.assert_allclose(out.intensity, ratio(signal, norm), rtol=1e-12)
    np.testing.assert_allclose(out.phi_edges, phi_edges)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_sectors_of_the_full_circle_add_up_to_the_ring(split):
    da = locate(frames(), geometry())
    ring = integrate_azimuthally(da, 6, split=split)
    cake = integrate_azimuthally(da, 6, phi_bins=7, split=split)
    np.testing.assert_allclose(cake["count"].sum("phi"), ring["count"], rtol=1e-12)
    np.testing.assert_allclose(cake.norm.sum("phi"), ring.norm, rtol=1e-12)
    signal = (cake.intensity * cake.norm).sum("phi")
    np.testing.assert_allclose(signal, ring.intensity * ring.norm, rtol=1e-12)


@pytest.mark.parametrize("degree", [-1.0, 0.0, 0.95, 1.0])
def test_corrections_divide_the_signal(degree):
    """A flat sample lit by the corrections themselves gives a flat curve."""
    da = locate(frames(None, np.float64), geometry())
    cos2 = np.cos(da.two_theta) ** 2
    factor = 0.5 * (1 + cos2 - degree * np.cos(2 * da.phi) * (1 - cos2))
    lit = da.copy(data=np.broadcast_to(7 * da.solid_angle * factor, SHAPE))
    for normalization in ("ratio", "mean"):
        out = integrate_azimuthally(
            lit, 8, polarization=degree, normalization=normalization
        )
        filled = out.intensity.values[out["count"].values > 0]
        np.testing.assert_allclose(filled, 7, rtol=1e-12)


def test_mean_averages_corrected_pixels():
    da = locate(frames(), geometry())
    edges = np.linspace(0.2, 1.0, 8)
    out = integrate_azimuthally(da, edges, normalization="mean", errors="poisson")
    corrected = da.copy(data=da.data.astype(float) / da.solid_angle.values)
    signal, _, count = by_hand(corrected, edges)
    np.testing.assert_allclose(out.intensity, ratio(signal, count), rtol=1e-12)
    np.testing.assert_array_equal(out.norm, count)
    variance = by_hand(corrected.copy(data=da.data / da.solid_angle.values**2), edges)
    expected = ratio(np.sqrt(variance[0]), count)
    np.testing.assert_allclose(out.sigma, expected, rtol=1e-6)  # float32 pixels


def test_sigma_of_the_spread_is_the_standard_error_of_the_mean():
    da = locate(frames(), geometry())
    out = integrate_azimuthally(da, 4, solid_angle=False, errors="azimuthal")
    at = np.clip(np.searchsorted(out.q_edges, da.q, "right") - 1, None, 3)
    values = da.values[3, 1].astype(float)
    for b in range(4):
        inside = values[at == b]
        expected = inside.std(ddof=1) / np.sqrt(inside.size)
        assert float(out.sigma[3, 1, b]) == pytest.approx(expected, rel=1e-12)


def test_scattering_angle_may_be_the_axis():
    da = locate(frames(), geometry(energy=None))
    edges = np.linspace(0.02, 0.2, 7)
    out = integrate_azimuthally(da, edges, unit="two_theta")
    signal, norm, _ = by_hand(da, edges, weight=da.solid_angle.values, unit="two_theta")
    assert out.intensity.dims == ("train", "pulse", "two_theta")
    assert out.two_theta.attrs["units"] == "rad"
    np.testing.assert_allclose(out.intensity, ratio(signal, norm), rtol=1e-12)


def bad_map():
    return np.random.default_rng(7).integers(0, 3, SHAPE[2:]).astype(np.uint32)


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: bad,
        lambda bad: xr.DataArray(bad, dims=DIMS[2:]),
        lambda bad: xr.DataArray(bad, dims=DIMS[2:]).chunk(),
        lambda bad: xr.DataArray(bad, {"module": [3, 8]}, DIMS[2:]),
        lambda bad: xr.DataArray(
            np.concatenate([bad[::-1], bad]), {"module": [8, 3, 1, 2]}, DIMS[2:]
        ),
        lambda bad: xr.DataArray(bad, dims=DIMS[2:]).transpose(..., "module"),
        lambda bad: frames(None).copy(data=np.broadcast_to(bad, SHAPE)),
    ],
    ids=["array", "dims", "lazy", "labels", "more modules", "order", "frames"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_bad_pixels_are_left_out(make, dtype):
    da = locate(frames(dtype=dtype), geometry())
    edges = np.linspace(0.2, 1.0, 9)
    out = integrate_azimuthally(da, edges, bad_pixels=make(bad_map()))
    signal, norm, count = by_hand(
        da, edges, weight=da.solid_angle.values, bad=bad_map()
    )
    np.testing.assert_allclose(out.intensity, ratio(signal, norm), rtol=1e-12)
    np.testing.assert_array_equal(out["count"], count)


def test_one_map_serves_all_modules():
    da = locate(frames(), geometry())
    one = bad_map()[0]
    both = np.stack([one, one])
    expected = integrate_azimuthally(da, 9, bad_pixels=both)
    for bad in (one, xr.DataArray(one, dims=DIMS[3:])):
        out = integrate_azimuthally(da, 9, bad_pixels=bad)
        np.testing.assert_array_equal(out.intensity, expected.intensity)


def test_frames_that_were_not_recorded_do_not_count_as_zeros():
    da = locate(frames(dtype=np.uint16), geometry())
    available = np.ones((7, 2), bool)
    available[2, 1] = available[5] = False
    recorded = np.ones((7, 2), bool)
    recorded[6, 1] = False
    da = da.assign_coords(
        available=(("train", "module"), available),
        recorded=(("train", "pulse"), recorded),
    )
    out = integrate_azimuthally(da, 10).compute()
    there = available[:, None, :] & recorded[:, :, None]
    expected = integrate_azimuthally(
        da.drop_vars(["available", "recorded"]).where(there[..., None, None]), 10
    )
    np.testing.assert_array_equal(out["count"], expected["count"])
    np.testing.assert_array_equal(out.intensity, expected.intensity)
    assert np.isnan(out.intensity[5]).all()
    assert np.isnan(out.intensity[6, 1]).all()


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_pixels_without_a_position_are_left_out(split):
    """Two panels that leave out two rows, as a CrystFEL file may."""
    upper, lower = (
        Panel(0, slow, (0, 11), corner, (0.0, 1e-3, 0.0), (1e-3, 0.0, 0.0))
        for slow, corner in (((0, 4), (-5e-3, -5e-3, 0)), ((6, 9), (-5e-3, 1e-3, 0)))
    )
    partial = Geometry.from_panels(
        [upper, lower], (1, 9, 11), distance=0.05, energy=9e3
    )
    da = locate(frames()[:, :, 0], partial)
    options = {"phi_bins": 3, "split": split, "normalization": "mean"}
    out = integrate_azimuthally(da, 4, polarization=1.0, **options)
    inside = da.values[0, 0][[0, 1, 2, 3, 6, 7, 8]]
    assert float(out["count"][0, 0].sum()) == pytest.approx(inside.size)
    plain = integrate_azimuthally(da, 4, solid_angle=False, **options)
    total = (plain.intensity * plain["count"]).sum(["phi", "q"])[0, 0]
    assert float(total) == pytest.approx(inside.sum())


def test_pixels_may_be_selected_after_locate():
    da = locate(frames(), geometry())
    cut = integrate_azimuthally(da[..., 2:5, 1:8], 10)
    outside = np.ones(SHAPE[2:], bool)
    outside[:, 2:5, 1:8] = False
    same = integrate_azimuthally(da, 10, bad_pixels=outside)
    np.testing.assert_array_equal(cut.intensity, same.intensity)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"unit": "d"}, "unit='d'.*two_theta"),
        ({"split": "pseudo"}, "split='pseudo'.*'no', 'bbox', 'full'"),
        ({"sigma_clip": 0.0}, "sigma_clip=0.0; wanted more than 0"),
        ({"sigma_clip": 3.0, "max_iterations": 0}, "max_iterations=0"),
        ({"dummy": 0, "delta_dummy": -1.0}, "delta_dummy=-1.0"),
        ({"normalization": "sum"}, "normalization"),
        ({"errors": "gauss"}, "errors"),
        ({"q_bins": 0}, "q_bins=0"),
        ({"q_bins": [0.3]}, "increasing"),
        ({"q_bins": [0.3, 0.2]}, "increasing"),
        ({"q_bins": [0.2, 0.3], "q_range": (0, 1)}, "q_range"),
        ({"q_range": (1.0, 0.5)}, "range"),
        ({"phi_bins": 0}, "phi_bins=0"),
        ({"phi_bins": [0.0, 7.0]}, "more than one turn"),
        ({"polarization": 1.5}, "polarization=1.5"),
    ],
)
def test_wrong_options_are_refused_while_building(kwargs, message):
    da = locate(frames(), geometry())
    with pytest.raises(ValueError, match=message):
        integrate_azimuthally(da, **{"q_bins": 5, **kwargs})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((9, 10)), r"\(9, 10\)"),
        (xr.DataArray(np.zeros((9, 11)), dims=("y", "x")), "y, x"),
        (xr.DataArray(np.zeros((1, 9, 11)), {"module": [3]}, DIMS[2:]), "not 8"),
        (xr.DataArray(np.zeros((4, 9, 11)), dims=DIMS[2:]), "differ in module"),
    ],
)
def test_bad_pixels_that_do_not_fit_are_refused(bad, message):
    da = locate(frames(), geometry())
    with pytest.raises(GeometryMismatchError, match=message):
        integrate_azimuthally(da, 5, bad_pixels=bad)


def test_missing_coordinates_say_how_to_get_them():
    with pytest.raises(MissingConstantError, match=r"geometry\.locate"):
        integrate_azimuthally(frames(), 5)
    with pytest.raises(MissingConstantError, match=r"energy=.*unit='two_theta'"):
        integrate_azimuthally(locate(frames(), geometry(energy=None)), 5)
    rng = np.random.default_rng(0)
    irregular = Geometry.from_positions(*rng.random((3, 2, 9, 11)), energy=9e3)
    da = locate(frames().drop_vars("module"), irregular)
    with pytest.raises(MissingConstantError, match="split='no'"):
        integrate_azimuthally(da, 5, split="bbox")


def edges_of(centres):
    step = centres[1] - centres[0]
    return np.append(centres - step / 2, centres[-1] + step / 2)


@pytest.fixture
def golden_image(shared):
    folder = shared / "golden" / "sacla"
    golden = np.load(folder / "azint.npz")
    da = xr.DataArray(golden["image"], dims=DIMS[3:])
    return locate(da, Geometry.from_poni(folder / "flat.poni")), golden


@pytest.mark.parametrize("split", ["no", "bbox"])
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("raw", {"solid_angle": False}),
        ("sa", {}),
        ("sapol", {"polarization": 0.95}),
    ],
)
def test_golden_curves_of_pyfai(golden_image, split, case, options):
    da, golden = golden_image
    name = f"{split}_csr"
    out = integrate_azimuthally(
        da,
        edges_of(golden[f"{name}_q"]),
        split=split,
        errors="poisson",
        bad_pixels=golden["mask_bad"],
        **options,
    )
    # pyFAI clips a pixel that reaches below q = 0 in another way: leave out that bin.
    kept = slice(1 if split == "bbox" else 0, None)
    for ours, theirs in (("intensity", "I"), ("sigma", "sem"), ("norm", "norm")):
        expected = golden[f"{name}_{case}_{theirs}"]
        np.testing.assert_allclose(out[ours][kept], expected[kept], rtol=2e-6)
    np.testing.assert_allclose(
        out["count"][kept], golden[f"{name}_count"][kept], rtol=2e-6
    )


@pytest.mark.parametrize("split", ["no", "bbox"])
def test_golden_cake_of_pyfai(golden_image, split):
    da, golden = golden_image
    name = f"{split}_csr_2d"
    out = integrate_azimuthally(
        da,
        edges_of(golden[f"{name}_q"]),
        phi_bins=np.deg2rad(edges_of(golden[f"{name}_chi"])),
        split=split,
        polarization=0.95,
        bad_pixels=golden["mask_bad"],
    )
    np.testing.assert_allclose(out["count"], golden[f"{name}_count"], atol=3e-5)
    filled = golden[f"{name}_count"] > 0.05
    np.testing.assert_allclose(
        out.intensity.values[filled], golden[f"{name}_I"][filled], rtol=2e-5
    )


def test_golden_range_of_pyfai(golden_image):
    """pyFAI rounds towards zero: its first bin also takes the bin below the range."""
    da, golden = golden_image
    edges = edges_of(golden["range_q"])
    bad = golden["mask_bad"]
    out = integrate_azimuthally(da, edges, bad_pixels=bad)
    np.testing.assert_allclose(out.intensity[1:], golden["range_I"][1:], rtol=1e-6)
    edges[0] -= edges[1] - edges[0]
    wider = integrate_azimuthally(da, edges, bad_pixels=bad)
    np.testing.assert_allclose(wider.intensity, golden["range_I"], rtol=1e-6)


def test_spread_agrees_with_pyfai(golden_image):
    """pyFAI divides by n, not n - 1; its running variance is a little off: 2e-3."""
    da, golden = golden_image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pyFAI")
        from pyFAI.detectors import Detector
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        ai = AzimuthalIntegrator(
            0.053, 0.04984, 0.05264, wavelength=1.44e-10,
            detector=Detector(8e-4, 8e-4, max_shape=(128, 128)),
        )  # fmt: skip
        theirs = ai.integrate1d_ng(
            golden["image"],
            60,
            mask=golden["mask_bad"],
            unit="q_A^-1",
            method=("no", "csr", "cython"),
            error_model="azimuthal",
        )
    out = integrate_azimuthally(
        da,
        edges_of(golden["no_csr_q"]),
        errors="azimuthal",
        bad_pixels=golden["mask_bad"],
    )
    np.testing.assert_allclose(out.intensity, theirs.intensity, rtol=1e-6)
    n = out["count"].values
    np.testing.assert_allclose(out.sigma * np.sqrt((n - 1) / n), theirs.sem, rtol=2e-3)


def test_golden_profiles_of_eight_modules(shared):
    """The golden q is float32: a pixel at an edge may change its bin."""
    folder = shared / "golden" / "sacla"
    with h5py.File(folder / "run206178_modules.h5") as f:
        run = f["run_206178"]
        tags = sorted(k for k in run["detector_2d_1"] if k.startswith("tag_"))
        values = np.array(
            [
                [run[f"detector_2d_{m}/{tag}/detector_data"][()] for m in range(1, 9)]
                for tag in tags
            ],
            dtype=np.float32,
        )
    where = np.load(folder / "run206178_positions.npz")
    golden = np.load(folder / "run206178_azint.npz")
    panels = Geometry.from_positions(
        where["x_um"] * 1e-6, where["y_um"] * 1e-6, 0.053, wavelength=1.44
    )
    da = xr.DataArray(values, dims=("train", *DIMS[2:]))
    da = locate(da - da[:4].mean("train"), panels)
    out = integrate_azimuthally(da, golden["q_edges"]).intensity.values
    error = np.abs(out - golden["profiles"]).max(axis=0) / golden["profiles"].max()
    assert (error > 1e-6).sum() <= 2
    assert error.max() < 1e-3


@pytest.mark.parametrize("case", ["default", "phi11_pol0", "phi4_pol1", "nocorr"])
def test_golden_azimuthal_binning_of_smalldata_tools(shared, case):
    """Sectors run from +y to +x there; its first sector also holds what overflows."""
    golden = np.load(shared / "golden" / "lcls" / "azimuthalBinning_basic.npz")
    x, y, z = (golden[f"det_{a}"] * 1e-6 for a in "xyz")
    panels = Geometry.lcls(
        x, y, z, centre=(150e-6, -220e-6), distance=0.06, wavelength=golden["lam"]
    )
    azimuths = golden[f"{case}__phiVec"]
    n = len(azimuths) - 1
    sectors = np.pi / 2 - (azimuths - (azimuths[1] - azimuths[0]) / 2)
    corrected = case != "nocorr"
    plane = 1 if case == "phi4_pol1" else 0
    out = integrate_azimuthally(
        locate(xr.DataArray(golden["image"], dims=DIMS[2:]), panels),
        golden[f"{case}__qbins"],
        phi_bins=sectors[::-1] if n > 1 else None,
        solid_angle=corrected,
        polarization=1 - 2 * plane if corrected else None,
        normalization="mean",
        bad_pixels=golden["det_cmask"] == 0,
    )
    ours, count = np.atleast_2d(out.intensity, out["count"])
    ours, count = ours[::-1], count[::-1]
    first = 1 if n > 1 else 0
    expected, number = golden[f"{case}__azav"], golden[f"{case}__Cake_norm"]
    same = (count == number)[first:]
    assert same[:, 2:].all()
    np.testing.assert_allclose(ours[first:][same], expected[first:][same], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.*is padding")
@pytest.mark.parametrize(
    ("options", "layout"),
    [
        ({"phi_bins": 4}, "train"),
        ({"errors": "poisson"}, "frame"),
        ({"split": "bbox", "errors": "azimuthal", "normalization": "mean"}, "train"),
        *(
            pytest.param(options, layout, marks=pytest.mark.nightly)
            for layout in ("train", "frame")
            for options in (
                {},
                {"errors": "azimuthal"},
                {"normalization": "mean"},
                {"split": "bbox"},
                {"split": "bbox", "phi_bins": 3, "errors": "poisson"},
            )
        ),
    ],
)
def test_frames_from_files_give_what_frames_in_memory_give(
    options, layout, ragged_run, monkeypatch
):
    monkeypatch.setattr(partition, "SUB_BLOCK", 2 << 19)
    lazy = open_run(ragged_run.directory).frames(layout=layout, chunk_size="2MiB")
    n = lazy.sizes["module"]
    spread = np.moveaxis(np.indices((n, 512, 128)), 0, -1) * [600.0, 1.0, 1.0]
    x, y = (spread[..., 2] + 40) * 2e-4, (spread[..., 0] + spread[..., 1]) * 2e-4
    places = Geometry.from_positions(x, y, np.full_like(x, 0.5), energy=9300)
    located = locate(lazy, places)
    got = integrate_azimuthally(located, 40, **options).compute()
    want = integrate_azimuthally(located.compute(), 40, **options).compute()
    for name in want:
        np.testing.assert_allclose(
            got[name], want[name], rtol=1e-9, atol=1e-9, err_msg=name
        )
