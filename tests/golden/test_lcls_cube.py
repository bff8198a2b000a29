"""Cubes against the results of smalldata_tools on the same runs."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.recipes.cube import make_cube
from xfelred.recipes.write_cube import write_cube

CASES = [
    (42, "lxt_on"), (42, "lxt_off"), (42, "lxt_all_nott"),
    (43, "motor_unique"), (43, "custom"), (43, "nobins"),
]  # fmt: skip
NO_SCALAR = "jungfrau1M/azav_azav"


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden" / "lcls" / "smalldata"


def frames_of(run, seed):
    """Regenerate the frames that the golden cubes were made from; see the README."""
    r = np.random.default_rng(seed + 1000)
    intensity = run.scalars(["ipm2/sum"])["ipm2/sum"].values
    y, x = np.mgrid[:32, :48]
    profile = 10 * np.exp(-((y - 16) ** 2 + (x - 24) ** 2) / 200)
    noise = r.normal(0, 1.5, (len(intensity), 2, 32, 48))
    signal = profile * intensity[:, None, None, None] / 3600
    images = np.float32(np.round((signal + noise) * 4)) / 4
    return xr.DataArray(
        images.astype(np.float32), dims=("train", "module", "slow_scan", "fast_scan"),
        coords={"train": run.train_ids, "module": [0, 1]},
    )  # fmt: skip


def recipe_of(case, golden, variables):
    """Return the recipe for a case of the peer."""
    told = json.loads(str(golden("case")))
    filters: dict[str, list] = {}
    for name, low, high, label in told["filters"]:
        filters.setdefault(label, []).append([name, low, high])
    name = str(golden("binVar_name"))
    unique = case in ("motor_unique", "custom", "lxt_all_nott")
    bins = {"unique": True} if unique else {"edges": golden("bins").tolist()}
    laser = {1: "on", 0: "off"}.get(told.get("onoff"), "all")
    return {
        "schema_version": 1, "kind": "cube", "bins": {name: bins},
        "delay": {"use_tt": told.get("use_tt", True)}, "laser": laser,
        "filters": filters, "variables": variables,
        "detectors": {"jungfrau1M": {"threshold": told.get("thresADU", 6.5)}},
        "output": {"formats": ["lcls_h5"], "report": False},
    }, told.get("useFilter")  # fmt: skip


@pytest.fixture(params=CASES, ids=[c for _, c in CASES])
def made(request, folder):
    number, case = request.param
    path = folder / f"xpptest01_Run00{number}.h5"
    run = xf.open_run(path)
    with np.load(folder / f"golden_cube_Run00{number}.npz") as file:
        found = {
            k.removeprefix(f"{case}__"): file[k] for k in file if k.startswith(case)
        }
    variables = ["ipm2/sum", "ipm3/sum", "diodeU/channels", NO_SCALAR]
    recipe, chosen = recipe_of(case, found.__getitem__, variables)
    frames = {"jungfrau1M": frames_of(run, number - 37)}
    return run, recipe, chosen, frames, found


# The peer adds up float32 values in float32.
CLOSE = {"rtol": 2e-5, "atol": 1e-4}


def test_file_equals_that_of_smalldata_tools(made, tmp_path):
    run, recipe, chosen, frames, golden = made
    result = write_cube(
        run, recipe, tmp_path, frames=frames, filter=chosen, compat=True
    )
    (path,) = result.paths
    cube = str(golden["cubeName"])
    # The last case is binned by a value that is not the scan's.
    axis = cube if str(golden["binVar_name"]) != "epics/gon_y" else "epics__gon_y"
    state = "_" + recipe["laser"] if recipe["laser"] != "all" else ""
    more = f"_{chosen}" if chosen else ""
    assert path.name == f"Cube_{run.run_id}_{axis}{state}{more}.h5"
    with h5py.File(path) as file:
        for name, expected in golden.items():
            if "dim" in name or name in ("delay", "bins", "selection", "case"):
                continue
            if name in ("binVar_name", "cubeName"):
                continue
            got = file[name][()]
            assert got.shape == expected.shape, name
            np.testing.assert_allclose(got, expected, err_msg=name, **CLOSE)
        if str(golden["binVar_name"]) == "delay":
            np.testing.assert_array_equal(file["delay"][()], file["binVar"][()])
        assert_selection(file.attrs["cubeSelection"], golden)
        data = file["jungfrau1M_data"][()]
    np.testing.assert_allclose(data, golden["jungfrau1M_data"], rtol=1e-12)


def assert_selection(text, golden):
    wanted = json.loads(str(golden["selection"]))
    got = [line.split(": ", 1)[1] for line in text.splitlines()]
    assert got == [f"{lo:f} < {name} < {hi:f}" for name, lo, hi in wanted]


def test_labelled_cube_has_the_same_numbers(made):
    run, recipe, chosen, frames, golden = made
    cube = make_cube(run, recipe, filter=chosen, frames=frames, compat=True).compute()
    empty = np.isnan(golden["nEntries"])
    np.testing.assert_array_equal(cube.n_shots, golden["nEntries"])
    np.testing.assert_allclose(
        cube.jungfrau1M_sum, golden["jungfrau1M_data"], rtol=1e-12
    )
    for name in ("ipm2__sum", "ipm3__sum", "diodeU__channels"):
        got = cube[f"{name}_sum"].values
        np.testing.assert_allclose(got[~empty], golden[name][~empty], **CLOSE)
    assert cube.attrs["run_id"] == run.run_id
