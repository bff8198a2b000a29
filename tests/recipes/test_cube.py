"""Cubes of simulated runs of all facilities, against plain numpy."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops, synth

HEAD = {"schema_version": 1, "kind": "cube"}
EDGES = [-2.0, 0.0, 1.0, 4.0]
CUTS = {"filter1": ["lightStatus/xray == 1", "500 < ipm2/sum < 60000"]}


@pytest.fixture(scope="module")
def lcls(tmp_path_factory):
    path = tmp_path_factory.mktemp("lcls") / "xpptest01_Run0047.h5"
    truth = synth.lcls.write_smalldata(path, n_events=200, shape=(2, 12, 16))
    return xf.open_run(path), truth


def by_hand(run, *, laser):
    """Frames, delays and i0 of the shots that pass, with plain numpy."""
    ds = run.scalars(["lightStatus/*", "ipm2/sum", "damage/jungfrau1M"])
    good = (ds["lightStatus/xray"] == 1) & (ds["lightStatus/laser"] == laser)
    good &= (ds["ipm2/sum"] > 500) & (ds["ipm2/sum"] < 60000)
    good &= ds["damage/jungfrau1M"] == 1
    frames = run.frames("jungfrau1M").values[:, 0]
    return frames[good], ops.delay(run).values[good], ds["ipm2/sum"].values[good]


@pytest.mark.parametrize("chunk_size", ["2KiB", "7KiB", "128MiB"])
def test_a_split_cube_equals_numpy(lcls, chunk_size):
    run, _ = lcls
    recipe = {
        **HEAD, "bins": {"delay": {"edges": EDGES}}, "laser": "split", "filters": CUTS,
        "variables": ["ipm2/sum"], "detectors": {"jungfrau1M": {}},
        "quantities": ["sum", "count", "mean", "var", "sem"],
    }  # fmt: skip
    frames = run.frames("jungfrau1M", bad_pixels=None, chunk_size=chunk_size)
    cube = xf.make_cube(run, recipe, frames={"jungfrau1M": frames})
    cube = cube.compute()
    assert cube.jungfrau1M_mean.dims[:2] == ("laser_on", "delay")
    assert cube.laser_on.values.tolist() == [True, False]
    outside = 0
    for state, laser in enumerate((1, 0)):
        images, delays, i0 = by_hand(run, laser=laser)
        labels = np.digitize(delays, EDGES) - 1
        outside += int(((labels < 0) | (labels > 2) | np.isnan(delays)).sum())
        for k in range(3):
            mine = images[labels == k].astype(float)
            n = len(mine)
            got = cube.isel(laser_on=state, delay=k)
            assert int(got.n_shots) == int(got.jungfrau1M_shots) == n
            np.testing.assert_allclose(got.jungfrau1M_sum, mine.sum(0), rtol=1e-9)
            np.testing.assert_allclose(got.jungfrau1M_mean, mine.mean(0), rtol=1e-9)
            np.testing.assert_allclose(
                got.jungfrau1M_var, mine.var(0), rtol=1e-6, atol=1e-9
            )
            sem = mine.std(0, ddof=1) / n**0.5
            np.testing.assert_allclose(got.jungfrau1M_sem, sem, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(got.ipm2__sum_sum, i0[labels == k].sum())
            np.testing.assert_allclose(got.delay_mean, delays[labels == k].mean())
    assert cube.attrs["n_outside"] == outside


def test_building_computes_nothing(lcls, no_compute):
    run, _ = lcls
    xf.make_cube(run, {**HEAD, "detectors": {"jungfrau1M": {"threshold": 2}}})


def test_photons_are_counted_shot_by_shot(lcls):
    run, _ = lcls
    rule = {"adu_per_photon": 3.0, "fraction": 0.8}
    recipe = {**HEAD, "detectors": {"jungfrau1M": {"photons": rule}}}
    cube = xf.make_cube(run, recipe).compute()
    frames = run.frames("jungfrau1M")
    good = run.scalars("damage/jungfrau1M")["damage/jungfrau1M"].values == 1
    counts = ops.count_photons(frames, **rule).astype(float).where(frames.notnull())
    wanted = counts.values[good].sum((0, 1))
    assert np.nanmax(wanted) > 50
    np.testing.assert_array_equal(cube.jungfrau1M_sum[0], wanted)
    recipe = {**HEAD, "detectors": {"jungfrau1M": {"photons": 0.9}}}
    with pytest.raises(xf.ConfigError, match="say what one is"):
        xf.make_cube(run, recipe)
    photons = {"jungfrau1M": (frames / 3).assign_attrs(units="photon")}
    recipe = {**HEAD, "detectors": {"jungfrau1M": {"photons": 0.8}}}
    again = xf.make_cube(run, recipe, frames=photons).compute()
    assert abs(again.jungfrau1M_sum - cube.jungfrau1M_sum).max() <= 1


def test_off_shots_keep_no_cut_on_the_laser(lcls):
    run, _ = lcls
    filters = {"filter1": ["lightStatus/laser == 1", "tt/FLTPOS > 1e9"]}
    with pytest.raises(xf.SelectionEmptyError, match="removes everything"):
        xf.make_cube(run, {**HEAD, "laser": "on", "filters": filters})
    cube = xf.make_cube(run, {**HEAD, "laser": "off", "filters": filters})
    off = run.scalars("lightStatus/laser")["lightStatus/laser"] == 0
    assert cube.n_shots.values.tolist() == [int(off.sum())]
    flow = json.loads(cube.attrs["cut_flow"])
    assert flow[0]["laser"] == "off"


def test_unique_bins_go_by_the_nominal_delay(lcls):
    run, truth = lcls
    recipe = {**HEAD, "bins": {"delay": {"unique": True, "tolerance": 1e-6}}}
    cube = xf.make_cube(run, recipe).compute()
    np.testing.assert_allclose(cube.delay, truth.config.delays, atol=1e-9)
    assert cube.n_shots.sum() == 200
    assert not np.allclose(cube.delay_mean, cube.delay, atol=1e-6)  # corrected


def test_raw_frames_are_calibrated_and_assembled(tmp_path):
    path = tmp_path / "xpptest01_Run0048.h5"
    synth.lcls.write_smalldata(path, n_events=30, shape=(2, 12, 16), key="raw")
    run = xf.open_run(path)
    spec = {"key": "raw", "calibrate": "jungfrau", "bad_pixels": "apply", "image": True}
    cube = xf.make_cube(run, {**HEAD, "detectors": {"jungfrau1M": spec}}).compute()
    constants = run.constants("jungfrau1M")
    signal = ops.calibrate(run.frames("jungfrau1M"), constants, kind="jungfrau")
    here = signal.available.values.all(axis=1)
    mean = signal.values[here, 0].astype(float).mean(0)
    ix, iy = constants.ix.values, constants.iy.values
    image = cube.jungfrau1M_mean.values[0]
    np.testing.assert_allclose(image[ix, iy], mean, rtol=1e-6)
    assert np.isnan(image[ix, iy]).sum() == constants.bad_pixels.values.sum()
    assert np.isnan(
        np.delete(image.ravel(), ix.ravel() * image.shape[1] + iy.ravel())
    ).all()


def test_regions_and_curves_of_the_sums(lcls):
    run, _ = lcls
    steps = [
        {"function": "roi", "name": "R", "bounds": [[0, 1], [2, 6], [3, 9]]},
        {"function": "azimuthal", "centre": [0, 0], "distance": 0.1, "energy": 9500,
         "q_edges": [0, 0.02, 0.06], "n_phi": 2, "on": "mean"},
    ]  # fmt: skip
    spec = {"det_proc": steps}
    cube = xf.make_cube(run, {**HEAD, "detectors": {"jungfrau1M": spec}}).compute()
    bad = run.constants("jungfrau1M").bad_pixels.values
    part = np.where(bad, 0, cube.jungfrau1M_sum.values[0])[0, 2:6, 3:9]
    np.testing.assert_allclose(cube.jungfrau1M_R_sum[0], np.nansum(part))
    assert cube.jungfrau1M_azav_azav.dims == (
        "all", "jungfrau1M_azav_phi", "jungfrau1M_azav_q"
    )  # fmt: skip
    assert cube.jungfrau1M_azav_count.values.sum() > 0


def test_first_shots_of_each_bin(lcls):
    run, _ = lcls
    recipe = {**HEAD, "bins": {"delay": {"edges": EDGES}},
              "detectors": {"jungfrau1M": {"max_shots_per_bin": 4}}}  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    assert cube.jungfrau1M_shots.values.tolist() == [4, 4, 4]
    delays = ops.delay(run).values
    here = run.frames("jungfrau1M").available.values.all(axis=1)
    first = np.flatnonzero((delays >= 0) & (delays < 1) & here)[:4]
    images = run.frames("jungfrau1M").values[first, 0]
    np.testing.assert_allclose(
        cube.jungfrau1M_sum[1], images.sum(0, dtype=float), rtol=1e-6
    )


def test_frames_of_another_file_are_joined_by_id(lcls, tmp_path):
    run, _ = lcls
    other = run.select_trains(np.s_[20:150:2])
    frames = other.frames("jungfrau1M", bad_pixels=None)
    recipe = {**HEAD, "require_detectors": False, "detectors": {"far": {}}}
    with pytest.warns(UserWarning, match="frames of far: no value for 135 of 200"):
        cube = xf.make_cube(run, recipe, frames={"far": frames}).compute()
    assert cube.n_shots.values.tolist() == [200]
    assert cube.far_shots.values.tolist() == [int(frames.available.all("module").sum())]
    path = tmp_path / "cube.yaml"
    spec = {"frames": {"source": str(run.files[0].path), "detector": "jungfrau1M"}}
    path.write_text(json.dumps({**recipe, "detectors": {"far": spec}}))
    again = xf.make_cube(run, path).compute()
    assert int(again.far_shots[0]) == int(
        run.frames("jungfrau1M").available.all("module").sum()
    )


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        ({"bins": {"ipm2/sun": {"unique": True}}}, "bins.ipm2/sun", "ipm2/sum"),
        ({"variables": ["ipm3/sun"]}, "variables.0", "ipm3/sum"),
        ({"filters": {"f": ["ipm2/sun > 1"]}}, "filters.f.0", "ipm2/sum"),
        ({"laser": "on", "laser_variable": "laser"}, "laser_variable", "no 'laser'"),
        ({"detectors": {"jungfrau": {}}}, "detectors.jungfrau", "'jungfrau1M'"),
        ({"detectors": {"jungfrau1M": {"key": "cal"}}}, "detectors.jungfrau1M", "cal"),
        ({"detectors": {"jungfrau1M": {"calibrate": "jungfrauu"}}},
         "detectors.jungfrau1M.calibrate", "jungfrau"),
        ({"bins": {"delay": {"unique": True}}, "delay": {"nominal": "x"}}, "delay",
         "no column 'x'|'x'"),
        ({"histograms": {"ipm9/sum": None}}, "histograms.ipm9/sum", "ipm"),
    ],
)  # fmt: skip
def test_names_that_the_run_lacks(lcls, more, key, words):
    run, _ = lcls
    with pytest.raises(xf.ConfigError, match=words) as caught:
        xf.make_cube(run, {**HEAD, **more})
    assert caught.value.key == key


def test_frames_that_no_detector_asks_for(lcls):
    run, _ = lcls
    with pytest.raises(xf.ConfigError, match="other"):
        xf.make_cube(run, HEAD, frames={"other": xr.DataArray([1.0], dims="train")})


def test_a_sacla_run(tmp_path):
    path = tmp_path / "300001.h5"
    synth.sacla.write_run(path, n_images=30, n_darks=6, shape=(8, 9))
    run = xf.open_run(path)
    name = next(iter(run.detectors))
    recipe = {**HEAD, "bins": {"I0": {"quantiles": 3}}, "detectors": {name: {}}}
    cube = xf.make_cube(run, recipe).compute()
    i0 = run.scalars(["I0"])["I0"]
    assert cube.n_shots.sum() == int(np.isfinite(i0).sum())
    total = run.frames(name).sel(train=i0.train[np.isfinite(i0)]).sum()
    np.testing.assert_allclose(cube[f"{name}_sum"].sum(), total, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*is padding")
def test_pulses_of_a_european_xfel_run(tmp_path):
    synth.euxfel.write_run(
        tmp_path / "r", detector="SPB_DET_AGIPD1M-1", modules=[0, 1], n_trains=6,
        pulses=[[0, 4, 8], [0, 4]] * 3, jitter=0.3,
    )  # fmt: skip
    run = xf.open_run(tmp_path / "r")
    name = "SA1_XTD2_XGM/DOOCS/MAIN:output.data.intensityTD"
    energy = run.scalars([name])[name].values
    per_pulse = [energy[i, : 3 - i % 2] for i in range(6)]
    middle = float(np.median(np.concatenate(per_pulse)))
    recipe = {
        **HEAD, "bins": {"e": {"variable": name, "edges": [0, middle, 1e9]}},
        "detectors": {"SPB_DET_AGIPD1M-1": {}}, "pulse_values": {name: [0, 4, 8]},
    }  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    low = sum(int((v < middle).sum()) for v in per_pulse)
    assert cube.n_shots.values.tolist() == [low, 15 - low]
    frames = run.frames().values
    expected = np.zeros(frames.shape[2:])
    for i, values in enumerate(per_pulse):
        for k, value in enumerate(values):
            if value < middle:
                expected += frames[i, k]
    got = cube["SPB_DET_AGIPD1M-1_sum"].values[0]
    good = np.isfinite(got) & np.isfinite(expected)
    assert good.mean() > 0.9
    np.testing.assert_allclose(got[good], expected[good], rtol=1e-5)


# -- values per train, and per pulse ---------------------------------------------------

XGM = "SA1_XTD2_XGM/DOOCS/MAIN:output.data.intensityTD"
OF_EACH_FRAME = {"pulse_values": {XGM: {"by": "position", "n": 6}}}
MOTOR = "SPB_LAS_PPL/MOTOR/DELAY.actualPosition"
AGIPD = "HED_DET_AGIPD500K2G"


@pytest.fixture(scope="module")
def pulsed(tmp_path_factory):
    """A run; delays (train,), energies (train, pulse), frames (train, pulse, ...)."""
    path = tmp_path_factory.mktemp("euxfel") / "r0001"
    synth.euxfel.write_run(
        path, kind="AGIPD500K", modules=[0, 1], n_trains=8, pulses=6, pump=0.3, seed=1
    )
    run = xf.open_run(path)
    ds = run.scalars([MOTOR, XGM])
    frames = run.frames(AGIPD, bad_pixels=None).values.astype(float)
    return run, ds[MOTOR].values, ds[XGM].values[:, :6].astype(float), frames


def sums_by_hand(frames, labels, n):
    """Loop over frames: sums and counts of shots in each bin; label -1 is none."""
    sums, counts = np.zeros((n, *frames.shape[2:])), [0] * n
    for i in range(frames.shape[0]):
        for k in range(frames.shape[1]):
            if labels[i, k] >= 0:
                sums[labels[i, k]] += frames[i, k]
                counts[labels[i, k]] += 1
    return sums, counts


@pytest.mark.filterwarnings("ignore:.*is padding")
@pytest.mark.parametrize("column", [MOTOR, XGM])
def test_delay_of_a_column_per_train_or_per_pulse(pulsed, column):
    run, motor, energy, frames = pulsed
    values = energy if column == XGM else np.repeat(motor[:, None], 6, axis=1)
    middle = float(np.median(values))
    edges = [values.min() - 1, middle, values.max()]  # the largest one is outside
    recipe = {
        **HEAD, "bins": {"delay": {"edges": edges}}, "detectors": {AGIPD: {}},
        "delay": {"nominal": [column, "ps"], "use_tt": False},
        **(OF_EACH_FRAME if column == XGM else {}),
    }  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    labels = np.where(values < middle, 0, np.where(values < edges[2], 1, -1))
    sums, counts = sums_by_hand(frames, labels, 2)
    assert cube[f"{AGIPD}_shots"].values.tolist() == counts
    np.testing.assert_allclose(cube[f"{AGIPD}_sum"], sums, rtol=1e-6)
    means = [values[labels == k].mean() for k in range(2)]
    np.testing.assert_allclose(cube.delay_mean, means, rtol=1e-6)
    assert cube.delay.attrs["units"] == "ps"


@pytest.mark.filterwarnings("ignore:.*is padding")
def test_laser_pattern_of_pulses(tmp_path):
    truth = synth.euxfel.write_run(
        tmp_path / "r", kind="AGIPD500K", modules=[0], n_trains=4, pulses=6
    )
    pattern = np.random.default_rng(3).integers(0, 2, (4, 6))
    path = "INSTRUMENT/SA1_XTD2_XGM/DOOCS/MAIN:output/data/intensityTD"
    for name in truth.files["DA01"]:
        with h5py.File(name, "r+") as file:
            file[path][:, :6] = pattern
    run = xf.open_run(tmp_path / "r")
    recipe = {
        **HEAD, "laser": "split", "laser_variable": XGM, "detectors": {AGIPD: {}},
        **OF_EACH_FRAME,
    }  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    frames = run.frames(AGIPD, bad_pixels=None).values.astype(float)
    sums, counts = sums_by_hand(frames, 1 - pattern, 2)  # with laser first
    assert cube[f"{AGIPD}_shots"].values.ravel().tolist() == counts
    assert cube.laser_on.values.tolist() == [True, False]
    np.testing.assert_allclose(cube[f"{AGIPD}_sum"].values, sums, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*is padding")
def test_variables_per_train_and_per_pulse_together(pulsed):
    run, motor, energy, _ = pulsed
    for more in ({}, {"detectors": {AGIPD: {}}}):
        recipe = {**HEAD, "variables": [MOTOR, XGM], **OF_EACH_FRAME, **more}
        cube = xf.make_cube(run, recipe).compute()
        np.testing.assert_allclose(
            cube[f"{MOTOR.replace('/', '__')}_mean"], [motor.mean()], rtol=1e-6
        )
        # Padding does not count, with frames or without.
        assert int(cube[f"{XGM.replace('/', '__')}_count"][0]) == energy.size
        np.testing.assert_allclose(
            cube[f"{XGM.replace('/', '__')}_mean"], [energy.mean()], rtol=1e-6
        )
    bins = {MOTOR: {"edges": [motor.min(), np.median(motor), motor.max() + 1]}}
    recipe = {**HEAD, "bins": bins, "variables": [XGM], "detectors": {AGIPD: {}}}
    cube = xf.make_cube(run, {**recipe, **OF_EACH_FRAME}).compute()
    first = motor < np.median(motor)
    means = [energy[first].mean(), energy[~first].mean()]
    np.testing.assert_allclose(cube[f"{XGM.replace('/', '__')}_mean"], means, rtol=1e-6)


def test_delay_of_a_sacla_run(tmp_path):
    path = tmp_path / "300001.h5"
    synth.sacla.write_run(path, n_images=30, n_darks=6, shape=(8, 9))
    delay = np.concatenate(
        [np.linspace(0, 1.9, 10), np.linspace(2, 8, 17), [-1, 9, 20]]
    )
    name = "run_300001/event_info/bl_3/lh_1/electrical_delay_in_psec"
    with h5py.File(path, "r+") as file:
        delay = delay.astype(file[name].dtype)
        file[name][:] = delay
    run = xf.open_run(path)
    assert ops.delay(run).values.tolist() == delay.tolist()
    assert ops.delay(run).attrs["nominal"] == "delay"
    for spec in ({}, {"nominal": "delay", "use_tt": False}):
        recipe = {**HEAD, "bins": {"delay": {"edges": [0, 2, 9]}}, "delay": spec}
        cube = xf.make_cube(run, recipe)
        assert cube.n_shots.values.tolist() == [10, 17]
        means = [delay[:10].mean(), delay[10:27].mean()]
        np.testing.assert_allclose(cube.delay_mean, means, rtol=1e-6)
    cube = xf.make_cube(run, {**HEAD, "variables": ["delay"]})
    np.testing.assert_allclose(cube.delay_mean, [delay.mean()], rtol=1e-6)


# -- what is not there -----------------------------------------------------------------


def test_regions_of_empty_bins_are_nan(lcls):
    run, _ = lcls
    roi = {"function": "roi", "name": "R", "bounds": [[0, 1], [2, 6], [3, 9]]}
    recipe = {**HEAD, "bins": {"delay": {"edges": [-2, 0, 500, 501]}},
              "detectors": {"jungfrau1M": {"det_proc": [roi]}}}  # fmt: skip
    cube = xf.make_cube(run, recipe).compute()
    assert int(cube.n_shots[2]) == 0
    for name in ("sum", "mean", "max"):
        values = cube[f"jungfrau1M_R_{name}"].values
        assert np.isnan(values).tolist() == [False, False, True], name


def test_frames_without_a_common_id_are_an_error(lcls):
    run, _ = lcls
    frames = run.frames("jungfrau1M")
    frames = frames.assign_coords(train=np.arange(frames.sizes["train"]))
    with pytest.raises(xf.ConfigError, match="no train ID in common") as caught:
        xf.make_cube(run, {**HEAD, "detectors": {"far": {}}}, frames={"far": frames})
    assert caught.value.key == "detectors.far"


def test_a_laser_state_without_shots_is_said(lcls):
    run, _ = lcls
    # This is 1 for nearly every shot, and never 0.
    recipe = {**HEAD, "laser": "split", "laser_variable": "lightStatus/ones"}
    ones = run.scalars(["lightStatus/laser"])["lightStatus/laser"] * 0 + 1

    class Always:
        facility, run_id, train_ids = run.facility, run.run_id, run.train_ids
        detectors = run.detectors

        def scalars(self, keys, **options):
            return xr.Dataset({"lightStatus/ones": ones})

    with pytest.warns(UserWarning, match=r"no shot with laser off \(lightStatus/ones"):
        cube = xf.make_cube(Always(), recipe)
    assert cube.n_shots.values.ravel().tolist() == [200, 0]
    with pytest.raises(xf.SelectionEmptyError, match="with laser off") as caught:
        xf.make_cube(Always(), {**recipe, "laser": "off"})
    assert caught.value.cut_flow.rows == [("lightStatus/ones == 0", 0, 0)]
    assert "lightStatus/ones is constant (1)" in str(caught.value)


def test_empty_selection_of_a_laser_state_names_it_and_counts_rows(lcls):
    run, _ = lcls
    laser = run.scalars("lightStatus/laser")["lightStatus/laser"].values
    filters = {"f": ["lightStatus/laser == 0"]}  # passes, and then no shot is left
    with pytest.raises(xf.SelectionEmptyError) as caught:
        xf.make_cube(run, {**HEAD, "laser": "on", "filters": filters})
    text = str(caught.value)
    assert "no shot of xpptest01_Run0047 with laser on passes the 2 cuts" in text
    n_on, n_off = int((laser == 1).sum()), int((laser == 0).sum())
    rows = [
        ("lightStatus/laser == 0", n_off, n_off),
        ("lightStatus/laser == 1", n_on, 0),
    ]
    assert caught.value.cut_flow.rows == rows
    assert f"passes for {n_on} shots, which the cuts before it remove" in text


def test_a_recipe_and_python_treat_bad_pixels_alike(lcls):
    run, _ = lcls
    cube = xf.make_cube(run, {**HEAD, "detectors": {"jungfrau1M": {}}}).compute()
    mine = ops.statistics(run.frames("jungfrau1M"), ("train", "pulse"))["mean"]
    np.testing.assert_allclose(cube.jungfrau1M_mean[0], mine, rtol=1e-9)
    bad = run.constants("jungfrau1M").bad_pixels.values
    np.testing.assert_array_equal(np.isnan(cube.jungfrau1M_sem[0]), bad)


@pytest.mark.parametrize("as_argument", [False, True])
@pytest.mark.parametrize("said", [{}, {"bad_pixels": "apply", "skipna": True}])
def test_compat_keeps_bad_pixels_unless_the_recipe_says_otherwise(
    lcls, as_argument, said
):
    run, _ = lcls
    recipe = {**HEAD, "detectors": {"jungfrau1M": said}}
    if as_argument:
        cube = xf.make_cube(run, recipe, compat=True)
    else:
        cube = xf.make_cube(run, {**recipe, "output": {"compat": True}})
    bad = run.constants("jungfrau1M").bad_pixels.values
    found = np.isnan(cube.jungfrau1M_mean[0].values) & bad
    np.testing.assert_array_equal(found, bad if said else np.zeros_like(bad))


def test_compat_can_be_switched_off(lcls):
    run, _ = lcls
    recipe = {**HEAD, "detectors": {"jungfrau1M": {}}, "output": {"compat": True}}
    cube = xf.make_cube(run, recipe, compat=False)
    want = xf.make_cube(run, {**HEAD, "detectors": {"jungfrau1M": {}}})
    np.testing.assert_array_equal(cube.jungfrau1M_mean, want.jungfrau1M_mean)


@pytest.mark.parametrize("dtype", ["u2", "i4", "u4"])
def test_integers_with_bad_pixels_lose_no_digit(lcls, dtype):
    run, _ = lcls
    largest = np.iinfo(dtype).max - 2
    frames = run.frames("jungfrau1M", bad_pixels=None).isel(train=slice(3))
    frames = frames.copy(data=np.full(frames.shape, largest, dtype))
    recipe = {**HEAD, "detectors": {"jungfrau1M": {}}}
    with pytest.warns(UserWarning, match="no value for 197 of 200 train IDs"):
        cube = xf.make_cube(run, recipe, frames={"jungfrau1M": frames})
    good = ~run.constants("jungfrau1M").bad_pixels.values
    assert (cube.jungfrau1M_mean.values[0][good] == largest).all()


def test_bad_pixels_of_other_modules_are_said_and_not_applied(lcls):
    run, _ = lcls
    frames = run.frames("jungfrau1M", bad_pixels=None).assign_coords(module=[3, 5])
    given = {"frames": {"jungfrau1M": frames}}
    recipe = {**HEAD, "detectors": {"jungfrau1M": {}}}
    with pytest.warns(UserWarning, match="not of these frames and are not applied"):
        cube = xf.make_cube(run, recipe, **given)
    assert not np.isnan(cube.jungfrau1M_mean).any()
    recipe["detectors"] = {"jungfrau1M": {"bad_pixels": "apply"}}
    with pytest.raises(xf.ConfigError, match=r"jungfrau1M\.bad_pixels: .*module"):
        xf.make_cube(run, recipe, **given)


def test_a_camera_without_z_is_a_plane(tmp_path):
    steps = [{"function": "azimuthal", "centre": [0, 0], "distance": 0.1,
              "energy": 9500, "q_edges": [0, 0.02, 0.06]}]  # fmt: skip
    recipe = {**HEAD, "detectors": {"jungfrau1M": {"det_proc": steps}}}
    found = []
    for name, without in (("flat", set()), ("camera", {"UserDataCfg/jungfrau1M/z"})):
        path = tmp_path / name / "xpptest01_Run0047.h5"
        path.parent.mkdir()
        synth.lcls.write_smalldata(path, n_events=9, shape=(2, 6, 8), without=without)
        found.append(xf.make_cube(xf.open_run(path), recipe).jungfrau1M_azav_azav)
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[1]).any()


def test_bins_from_data_are_made_once_for_the_run(lcls):
    run, _ = lcls
    frames = run.select_trains(np.s_[100:]).frames("jungfrau1M", bad_pixels=None)
    recipe = {
        **HEAD, "bins": {"ipm2/sum": {"quantiles": [0, 50, 100]}},
        "require_detectors": False, "detectors": {"jungfrau1M": {"bad_pixels": "keep"}},
    }  # fmt: skip
    with pytest.warns(UserWarning, match="no value for 100 of 200"):
        cube = xf.make_cube(run, recipe, frames={"jungfrau1M": frames}).compute()
    values = run.scalars(["ipm2/sum"])["ipm2/sum"]
    middle = np.percentile(values, 50)
    np.testing.assert_allclose(cube["ipm2__sum_edges"][1], middle)
    here = frames.available.all("module").values
    low = (values.values[100:] < middle) & here
    assert cube.jungfrau1M_shots.values.tolist() == [low.sum(), (here & ~low).sum()]
    assert cube.jungfrau1M_mean.attrs["data_kind"] == frames.attrs["data_kind"]


def test_no_shot_in_any_bin_is_said(lcls):
    run, _ = lcls
    recipe = {**HEAD, "bins": {"ipm2/sum": {"edges": [-5, -2]}}}
    with pytest.warns(UserWarning, match="no shot is in a bin of 'ipm2/sum'.*-5 to -2"):
        xf.make_cube(run, recipe)


def test_detectors_with_other_pixels_need_a_cube_each(lcls):
    run, _ = lcls
    frames = run.frames("jungfrau1M", bad_pixels=None)
    given = {"a": frames, "b": frames.isel(slow_scan=slice(4))}
    recipe = {**HEAD, "require_detectors": False, "detectors": {"a": {}, "b": {}}}
    with pytest.raises(xf.ConfigError, match="b and a have other pixels along slow"):
        xf.make_cube(run, recipe, frames=given)
    given["b"] = frames.assign_coords(module=frames.module + 4)
    with pytest.raises(xf.ConfigError, match="along module"):
        xf.make_cube(run, recipe, frames=given)
