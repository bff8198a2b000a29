"""Azimuthal curves of azimuthalBinning of smalldata_tools."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xfelred.recipes.curves import azimuthal_curve
from xfelred.recipes.function_values import Facts, Given

GOLDEN = np.load(Path(__file__).parent / "data/lcls/azimuthalBinning_basic.npz")
DIMS = ("module", "slow_scan", "fast_scan")
CASES = {
    "default": {"q_step": 0.02, "polarization": 1.0},
    "phi11_pol0": {"q_step": 0.02, "polarization": 1.0, "n_phi": 11},
    "phi4_pol1": {"q_step": 0.03, "polarization": -1.0, "n_phi": 4},
}


def curve(all_compat=False, **options):
    beam = {"centre": (150e-6, -220e-6), "distance": 0.06, "energy": 9500}
    constants = xr.Dataset({k: (DIMS, GOLDEN[f"det_{k}"] * 1e-6) for k in "xyz"})
    image = xr.DataArray(GOLDEN["image"], dims=DIMS).expand_dims(train=1)
    bad = xr.DataArray(~GOLDEN["good"], dims=DIMS)
    facts = Facts(constants, bad=bad, compat=all_compat)
    made = azimuthal_curve(Given(image, facts, "azav"), {**beam, **options})
    return xr.Dataset(made.values).isel(train=0)


@pytest.mark.parametrize("name", CASES)
def test_curves_with_the_hc_of_the_peer(name):
    found = curve(compat=True, **CASES[name])
    got, wanted = found["azav"].values, GOLDEN[f"{name}__azav"]
    # Bad pixels are counted by the peer in this one.
    got, wanted = got.copy(), wanted.copy()
    got[0, 0] = wanted[0, 0] = 0
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_hc_is_that_of_codata_unless_the_peer_is_followed():
    ours, theirs = (curve(compat=c, **CASES["default"])["q"] for c in (False, True))
    np.testing.assert_allclose(theirs, GOLDEN["default__q"], rtol=1e-12)
    assert not np.allclose(ours, theirs, rtol=1e-7)
    whole_recipe = curve(all_compat=True, **CASES["default"])["q"]
    np.testing.assert_array_equal(whole_recipe, theirs)


def test_sectors_between_edges_are_rows_of_their_own():
    edges = np.linspace(0, 2 * np.pi, 12)
    even = curve(q_step=0.02, polarization=1.0, n_phi=11)
    mine = curve(q_step=0.02, polarization=1.0, phi_edges=edges.tolist())
    assert mine.sizes["phi"] == 11
    np.testing.assert_array_equal(mine["count"].sum("phi"), even["count"].sum("phi"))
    some = curve(q_step=0.02, polarization=1.0, phi_edges=edges[2:5].tolist())
    np.testing.assert_array_equal(some["count"], mine["count"][2:4])
