"""The angle between scattering vectors, and Friedel symmetry."""

import dask.array
import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import GeometryMismatchError, MissingConstantError

N_PHI = 720
WAVELENGTH = 1.44


def correlation(function, *, q=(1.0, 2.67), shots=3, chunks=2, n_phi=N_PHI):
    """Correlations whose value is a function of the true angle."""
    lag = 2 * np.pi * np.arange(n_phi) / n_phi
    q = np.asarray(q)
    theta = np.arcsin(q * WAVELENGTH / (4 * np.pi))[:, None]
    cosine = np.cos(lag) * np.cos(theta) ** 2 + np.sin(theta) ** 2
    values = np.stack([function(cosine) * (1 + i) for i in range(shots)])
    counts = np.full(values.shape, n_phi)
    dims = ("train", "radius", "lag")
    attrs = {"units": "1", "long_name": "correlation"}
    data = {"correlation": (dims, values, attrs), "n_pairs": (dims, counts)}
    coords = {"train": np.arange(shots), "q": ("radius", q), "lag": lag}
    return xr.Dataset(data).chunk(train=chunks).assign_coords(coords)


def test_gold_111_lies_where_the_ewald_sphere_puts_it():
    result = correlation(np.cos, q=[2.67])
    axis = ops.to_cos_psi(result, wavelength=WAVELENGTH).cos_psi[0]
    half = axis[: N_PHI // 2]
    for value, degrees in ((1 / 3, 74.66), (-1 / 3, 118.10)):
        at = int(abs(half - value).argmin("lag"))
        assert np.rad2deg(float(result.lag[at])) == pytest.approx(degrees, abs=0.5)


def test_axis_is_added_without_touching_the_data():
    result = correlation(np.cos)
    out = ops.to_cos_psi(result, wavelength=WAVELENGTH)
    assert out.cos_psi.dims == ("radius", "lag")
    assert out.cos_psi.attrs["units"] == "1"
    xr.testing.assert_identical(
        out.correlation.drop_vars("cos_psi"), result.correlation
    )
    assert out.attrs["history"].startswith("to_cos_psi {")


def test_leading_ring_has_its_own_q():
    result = correlation(np.cos).assign_coords(lead_q=2.0)
    axis = ops.to_cos_psi(result, wavelength=WAVELENGTH).cos_psi
    t1, t2 = (
        np.arcsin(np.array(q) * WAVELENGTH / 4 / np.pi) for q in (2.0, [1.0, 2.67])
    )
    expected = np.cos(0.0) * np.cos(t1) * np.cos(t2) + np.sin(t1) * np.sin(t2)
    np.testing.assert_allclose(axis[:, 0], expected)


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("n_phi", [720, 721])
def test_grid_holds_the_function_of_the_angle(chunks, n_phi):
    result = correlation(lambda c: c**3 - c, chunks=chunks, n_phi=n_phi)
    out = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=101)
    assert out.correlation.dims == ("train", "radius", "cos_psi")
    np.testing.assert_allclose(out.cos_psi, np.linspace(-1, 1, 101))
    assert "lag" not in out.coords
    inside = np.isfinite(out.correlation.isel(train=0)).values
    theta = np.arcsin(np.array([1.0, 2.67]) * WAVELENGTH / 4 / np.pi)
    np.testing.assert_array_equal(
        inside, out.cos_psi.values >= -np.cos(2 * theta)[:, None] - 1e-4
    )
    c = out.cos_psi.values
    expected = np.where(inside, c**3 - c, np.nan)
    # Linear interpolation between steps of half a degree.
    np.testing.assert_allclose(out.correlation[1] / 2, expected, atol=1e-4)
    assert out.n_pairs.dtype == np.int64
    np.testing.assert_array_equal(out.n_pairs[0], np.where(inside, n_phi, 0))
    assert out.correlation.attrs["units"] == "1"


def test_only_lags_up_to_pi_are_used():
    result = correlation(np.cos)
    result["correlation"] = result.correlation.where(result.lag <= np.pi, np.nan)
    out = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=21)
    whole = ops.to_cos_psi(correlation(np.cos), wavelength=WAVELENGTH, grid=21)
    np.testing.assert_array_equal(out.correlation, whole.correlation)


def test_lags_without_value_leave_a_gap():
    result = correlation(np.cos, q=[0.5])
    gap = (result.lag > 1.0) & (result.lag < 1.2)
    result["correlation"] = result.correlation.where(~gap)
    out = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=[0.0, 0.45, 0.9])
    np.testing.assert_array_equal(np.isnan(out.correlation[0, 0]), [False, True, False])


def test_building_computes_nothing(no_compute):
    with no_compute():
        out = ops.to_cos_psi(correlation(np.cos), wavelength=WAVELENGTH, grid=51)
        ops.friedel_asymmetry(out)
        ops.friedel_weights(out)
    assert out.correlation.chunks is not None


def test_asymmetry_tells_odd_from_even():
    for function, expected in (
        (lambda c: c**2, 0.0),
        (lambda c: c, 1.0),
        (lambda c: c + c**2 * np.nan if False else 1.0 + 0 * c, 0.0),
    ):
        result = correlation(function, q=[0.05, 0.1])
        grid = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=201)
        out = ops.friedel_asymmetry(grid)
        assert out.dims == ("train", "radius")
        assert out.name == "friedel_asymmetry"
        np.testing.assert_allclose(out, expected, atol=1e-4)
    mixed = correlation(lambda c: c + 2 * c**2, q=[0.05])
    grid = ops.to_cos_psi(mixed, wavelength=WAVELENGTH, grid=201)
    small = float(ops.friedel_asymmetry(grid, limit=0.2)[0, 0])
    assert float(ops.friedel_asymmetry(grid)[0, 0]) < small


def weighted(rng, positive, ridge=1e-3):
    grid = np.linspace(-1, 1, 41)
    artifact = np.array([0.0, 0.0, 3.0, 5.0, np.nan])
    values = grid**2 + artifact[:, None] * grid + 0.01 * rng.standard_normal((5, 41))
    result = xr.Dataset(
        {"correlation": (("pair", "radius", "cos_psi"), values[:, None])},
        {"cos_psi": grid, "pair": np.arange(5)},
    )
    weights = ops.friedel_weights(result.chunk(pair=2), positive=positive, ridge=ridge)
    return result, weights


@pytest.mark.parametrize("positive", [True, False])
def test_weights_make_the_mean_symmetric(positive):
    result, weights = weighted(np.random.default_rng(0), positive)
    assert weights.dims == ("pair",)
    assert float(weights.sum()) == pytest.approx(1)
    assert weights[4] == 0
    filled = result.fillna(0)
    mean = (weights * filled).sum("pair")
    plain = filled.isel(pair=slice(4)).mean("pair")
    better = float(ops.friedel_asymmetry(mean)[0])
    assert better < 0.01 * float(ops.friedel_asymmetry(plain)[0])
    if positive:
        assert (weights >= 0).all()
        assert float(weights[:2].sum()) > 0.9


def test_positive_weights_are_the_least_of_all_positive_ones():
    _, weights = weighted(np.random.default_rng(1), True)
    result, _ = weighted(np.random.default_rng(1), True)
    values = result.correlation.values[:4, 0]
    odd = (values - values[:, ::-1]) / 2
    gram = odd @ odd.T
    gram += 1e-3 * np.trace(gram) / 4 * np.eye(4)

    def cost(w):
        return w @ gram @ w

    own = cost(weights.values[:4])
    for w in np.random.default_rng(2).dirichlet(np.ones(4) * 0.3, 3000):
        assert own <= cost(w) * (1 + 1e-9)


def test_a_large_ridge_weighs_all_shots_alike():
    _, weights = weighted(np.random.default_rng(0), True, ridge=1e9)
    np.testing.assert_allclose(weights[:4], 0.25, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        ("no q", {}, MissingConstantError, "no coordinate 'q'"),
        ("no lag", {}, GeometryMismatchError, "no dim lag"),
        (None, {"wavelength": 0.0}, ValueError, "above 0"),
        (None, {"wavelength": 144.0}, ValueError, "cannot be reached"),
        (None, {"grid": 1}, ValueError, "at least 2"),
        (None, {"grid": [0.5, 0.1]}, ValueError, "increasing"),
    ],
)
def test_bad_input_is_an_error_while_building(change, options, error, text):
    result = correlation(np.cos)
    changed = {
        None: lambda: result,
        "no q": lambda: result.drop_vars("q"),
        "no lag": lambda: result.isel(lag=0),
    }[change]()
    with pytest.raises(error, match=text):
        ops.to_cos_psi(changed, **{"wavelength": WAVELENGTH, **options})


def test_q_beyond_the_ewald_sphere_is_nan():
    result = correlation(np.cos).assign_coords(q=("radius", [1.0, 9.0]))
    out = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=11)
    assert np.isnan(out.correlation.isel(radius=1)).all()
    assert (out.n_pairs.isel(radius=1) == 0).all()
    assert np.isfinite(out.correlation.isel(radius=0, cos_psi=5)).all()


def test_friedel_needs_a_symmetric_grid():
    result = correlation(np.cos)
    with pytest.raises(MissingConstantError, match="grid=201"):
        ops.friedel_asymmetry(result)
    uneven = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=[-0.5, 0.1, 0.4])
    with pytest.raises(ValueError, match="not symmetric"):
        ops.friedel_asymmetry(uneven)
    even = ops.to_cos_psi(result, wavelength=WAVELENGTH, grid=11)
    with pytest.raises(ValueError, match="one dim of shots"):
        ops.friedel_weights(even.expand_dims("pulse"))
    with pytest.raises(ValueError, match="ridge=-1"):
        ops.friedel_weights(even, ridge=-1)
    assert isinstance(ops.friedel_weights(even).data, dask.array.Array)
