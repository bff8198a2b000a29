"""Functions in cubes: of every shot against small data and numpy, of sums as before."""

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.errors import ConfigError
from xfelred.recipes import cube_functions
from xfelred.recipes.cube_estimate import estimate_cube
from xfelred.synth.euxfel import write_run
from xfelred.synth.lcls import write_smalldata

pytestmark = pytest.mark.slow

EDGES = [0, 1500, 3000, 60000]
REGION = {
    "function": "roi",
    "name": "R",
    "bounds": [[0, 1], [1, 5], [2, 7]],
    "functions": [{"function": "project", "name": "pj", "axis": "slow_scan"}],
}
DROPLETS = {
    "function": "droplets",
    "name": "dr",
    "threshold": 5.0,
    "use_noise": False,
    "functions": [{"function": "spectrum", "bins": [0, 200, 10]}],
}
RINGS = {"function": "azimuthal", "name": "az", "centre": [0, 0], "distance": 0.1,
         "energy": 9500, "q_edges": [0, 0.02, 0.06], "n_phi": 2}  # fmt: skip
PHOTONS = {"function": "photon_counts", "name": "ph", "adu_per_photon": 20.0}
ROUNDED = {"function": "compress", "name": "cp", "max_error": 0.5,
           "functions": [{"function": "sparsify", "name": "sp", "n": 3}]}  # fmt: skip
TREE = [REGION, DROPLETS, RINGS, PHOTONS, ROUNDED]
DET = "jungfrau1M"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=40, shape=(2, 6, 8), n_banks=2, without_image=0.15)
    return path


@pytest.fixture
def run(source):
    return xf.open_run(source)


def recipe(*functions, on="shot", detector=None, **more):
    steps = [{**f, "on": on} for f in functions]
    return {
        "schema_version": 1,
        "kind": "cube",
        "bins": {"ipm2/sum": {"edges": EDGES}},
        "detectors": {DET: {"det_proc": steps, **(detector or {})}},
        "execution": {"block_trains": 17},
        **more,
    }


def small_data(run, path, *functions):
    """Values of every shot by name, of the reduction that has loops as its oracle."""
    made = {"schema_version": 1, "kind": "smalldata",
            "detectors": {DET: {"functions": list(functions)}}}  # fmt: skip
    with h5py.File(xf.reduce_run(run, made, path)) as file:
        return {k: v[()] for k, v in file[DET].items()}


def test_functions_of_shots_are_small_data_binned(run, tmp_path, no_compute):
    cut = {"filters": {"filter1": ["lightStatus/xray == 1"]}}
    with no_compute():
        cube = xf.make_cube(run, recipe(*TREE, **cut))
    cube = cube.compute()
    ds = run.scalars(["ipm2/sum", "lightStatus/xray", f"damage/{DET}"])
    taken = (ds["lightStatus/xray"] == 1) & (ds[f"damage/{DET}"] == 1)
    at = np.digitize(ds["ipm2/sum"], EDGES) - 1
    expected = small_data(run, tmp_path, *TREE)
    assert len(expected) == 17
    for name, values in expected.items():
        for i in range(len(EDGES) - 1):
            mine = values[taken.values & (at == i)].astype(float)
            assert len(mine) == int(cube[f"{DET}_shots"][i])
            n = np.isfinite(mine).sum(0)
            found = {q: cube[f"{DET}_{name}_{q}"][i].values
                     for q in ("sum", "count", "mean", "var")}  # fmt: skip
            np.testing.assert_array_equal(found["count"], n, err_msg=name)
            total = np.where(n > 0, np.nansum(mine, 0), np.nan)
            np.testing.assert_allclose(found["sum"], total, rtol=1e-6, err_msg=name)
            with np.errstate(invalid="ignore"):
                mean = total / n
                var = np.nansum((mine - mean) ** 2, 0) / n
            np.testing.assert_allclose(found["mean"], mean, rtol=1e-6, err_msg=name)
            np.testing.assert_allclose(found["var"], var, rtol=1e-5, atol=1e-6)


def test_shots_are_worked_off_in_pieces_of_any_size(run, monkeypatch):
    whole = xf.make_cube(run, recipe(*TREE)).compute()
    monkeypatch.setattr("xfelred.recipes.function_tree.PIECE", 1)
    xr.testing.assert_equal(xf.make_cube(run, recipe(*TREE)).compute(), whole)


def test_a_cube_in_blocks_has_the_same_and_can_be_resumed(run, tmp_path):
    made = recipe(*TREE, output={"formats": ["zarr", "lcls_h5"], "report": False})
    estimate = estimate_cube(run, made, tmp_path)
    result = xf.write_cube(run, made, tmp_path)
    assert (result.blocks, result.computed) == (estimate.blocks, 3)
    cube, lazy = xr.open_zarr(result.paths[0]), xf.make_cube(run, made).compute()
    assert set(cube.data_vars) == set(lazy.data_vars)
    for name in cube.data_vars:
        np.testing.assert_allclose(cube[name], lazy[name], rtol=1e-9, atol=1e-9)
    with h5py.File(result.paths[1]) as file:
        for name in ("R_sum", "az_azav", "dr_spectrum_histogram", "R_pj_data"):
            total = lazy[f"{DET}_{name}_sum"]
            np.testing.assert_allclose(file[f"{DET}_{name}"], total, rtol=1e-9)
            spread = lazy[f"{DET}_{name}_var"] ** 0.5
            np.testing.assert_allclose(file[f"std_{DET}_{name}"], spread, rtol=1e-6)
    assert xf.write_cube(run, made, tmp_path).reused == 3


def test_functions_of_sums_are_those_of_a_frame(run):
    """A function of a sum is that of one shot, if the bin has one shot."""
    ids = run.scalars(["ipm2/sum", f"damage/{DET}"])
    value = float(ids["ipm2/sum"].values[ids[f"damage/{DET}"].values == 1][0])
    one = {"bins": {"ipm2/sum": {"edges": [value - 1e-6, value + 1e-6]}}}
    on_sum = xf.make_cube(run, recipe(*TREE, on="sum", **one)).compute()
    on_shot = xf.make_cube(run, recipe(*TREE, **one)).compute()
    assert int(on_sum.n_shots[0]) == 1
    names = [n for n in on_shot if (n.endswith("_sum") and "_R_" in n) or "_az_" in n]
    for name in (n.removesuffix("_sum") for n in names if n.endswith("_sum")):
        np.testing.assert_allclose(on_sum[name], on_shot[f"{name}_sum"], rtol=1e-6)
    # Photons and droplets of the mean are those of the sum of one shot, too.
    on_mean = xf.make_cube(run, recipe(*TREE, on="mean", **one)).compute()
    for name in ("ph_nPhot", "dr_nDroplets", "dr_spectrum_histogram"):
        np.testing.assert_array_equal(on_sum[f"{DET}_{name}"], on_mean[f"{DET}_{name}"])


def test_photon_maps_go_through_functions_of_shots(run):
    """Photons counted shot by shot: the region of a map has as many as the map."""
    rule = {"photons": {"adu_per_photon": 20.0, "fraction": 0.9}}
    whole = {"function": "roi", "name": "all"}
    cube = xf.make_cube(run, recipe(whole, detector=rule)).compute()
    np.testing.assert_allclose(
        cube[f"{DET}_all_sum_sum"].fillna(0),
        cube[f"{DET}_sum"].sum(("module", "slow_scan", "fast_scan")),
    )


@pytest.mark.parametrize("on", ["shot", "sum"])
def test_droplets_without_room_are_told(run, on):
    few = recipe({**DROPLETS, "max_droplets": 1}, on=on)
    cube = xf.make_cube(run, few)
    with pytest.warns(UserWarning, match="'dr_spectrum' lacks.*Raise max_droplets"):
        cube.compute()


PONI = """Detector: Detector
Detector_config: {"pixel1": 0.0001, "pixel2": 0.0001}
Distance: 0.05
Poni1: 0.0007
Poni2: 0.0005
Wavelength: 1.3e-10
"""


def test_a_poni_file_is_part_of_what_cubes_and_small_data_are_made_from(run, tmp_path):
    poni = tmp_path / "cal.poni"
    poni.write_text(PONI)
    curve = {"function": "azav_pyfai", "name": "pf", "poni_file": str(poni), "npts": 9}
    made = recipe(curve, output={"formats": ["zarr"], "report": False})
    shots = small_data(run, tmp_path / "small", curve)
    xf.write_cube(run, made, tmp_path / "cube")
    cube = xf.make_cube(run, made)
    poni.write_text(PONI.replace("0.05", "0.06"))
    whole = cube.compute()  # what computes needs no file
    ds = run.scalars(["ipm2/sum", f"damage/{DET}"])
    at = np.digitize(ds["ipm2/sum"], EDGES) - 1
    for i in range(len(EDGES) - 1):
        mine = shots["pf_azav"][(ds[f"damage/{DET}"] == 1).values & (at == i)]
        wanted = np.nansum(mine.astype(float), 0)
        found = whole[f"{DET}_pf_azav_sum"][i].fillna(0)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"source has changed: cal\.poni"):
        xf.write_cube(run, made, tmp_path / "cube")
    with pytest.raises(ConfigError, match=r"source has changed: cal\.poni"):
        small_data(run, tmp_path / "small", curve)


@pytest.mark.nightly
def test_two_worker_processes_give_the_same_bits(run, tmp_path):
    made = recipe(*TREE, output={"formats": ["zarr"], "report": False})
    here = xf.write_cube(run, made, tmp_path / "threads", scheduler="threads")
    with xf.cluster.local(2):
        there = xf.write_cube(run, made, tmp_path / "workers")
    one, two = (xr.open_zarr(r.paths[0]).load() for r in (here, there))
    assert [*one.variables] == [*two.variables]
    for name in one.variables:
        assert one[name].values.tobytes() == two[name].values.tobytes(), name


def test_pulses_are_shots_of_their_own(tmp_path):
    write_run(tmp_path, n_trains=4, pulses=3, corrected=True, modules=[0, 1])
    run = xf.open_run(tmp_path)
    (det,) = (d for d in run.detectors if "AGIPD" in d)
    whole = {"function": "roi", "name": "all", "on": "shot",
             "bounds": [[0, 1], [0, 64], [0, 64]]}  # fmt: skip
    made = {"schema_version": 1, "kind": "cube",
            "detectors": {det: {"det_proc": [whole]}}}  # fmt: skip
    cube = xf.make_cube(run, made).compute()
    name = next(str(n) for n in cube if str(n).endswith("_all_sum_sum"))
    frames = run.frames(det).isel(module=slice(0, 1)).values[..., :64, :64]
    np.testing.assert_allclose(cube[name][0], np.nansum(frames.astype(float)))
    assert int(cube[f"{name.removesuffix('_sum')}_count"][0]) == 12


@pytest.mark.parametrize(
    ("step", "key", "words"),
    [
        ({"function": "rio"}, "det_proc.0.function", "Did you mean 'roi'"),
        ({"function": "roi", "bound": [[0, 1]]}, "det_proc.0.bound", "'bounds'"),
        ({"function": "roi", "bounds": [[0, 9], [40, 60]]}, "det_proc.0", "40"),
        ({"function": "project", "on": "pixel"}, "det_proc.0.on", "'shot'"),
        ({**DROPLETS, "threshold_low": 9.0}, "det_proc.0", "threshold"),
        ({**DROPLETS, "functions": [{"function": "sparsify"}]}, "det_proc.0",
         "spectrum"),
        ({**DROPLETS, "functions": [{**REGION, "bounds": [[90, 91], [0, 2]]}]},
         "det_proc.0.functions.0", "makes nothing of droplets"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("on", ["shot", "sum"])
def test_mistakes_are_told_with_their_key(run, step, key, words, on):
    step = {"on": on, **step}
    made = {**recipe(), "detectors": {DET: {"det_proc": [step]}}}
    with pytest.raises(ConfigError, match=words) as caught:
        xf.make_cube(run, made)
    if on == "shot" or key != "det_proc.0.functions.0":
        assert caught.value.key == f"detectors.{DET}.{key}"


def test_blocks_make_only_their_own_shots(run, tmp_path, monkeypatch):
    seen = []
    real = cube_functions.numbers_of_shots

    def counted(block, masks, work):
        seen.append(len(block))
        return real(block, masks, work)

    monkeypatch.setattr(cube_functions, "numbers_of_shots", counted)
    made = recipe(REGION, output={"formats": ["zarr"], "report": False})
    result = xf.write_cube(run, made, tmp_path)
    taken = int((run.scalars([f"damage/{DET}"])[f"damage/{DET}"] == 1).sum())
    assert (result.blocks, sum(seen)) == (3, taken)
