"""Dark, lit and pumped shots, photon energies, and values per shot of SACLA runs."""

import h5py
import numpy as np
import pytest
from sacla_runs import (
    CLOSE,
    ENERGY,
    OPEN,
    SELECTOR,
    SHAPE,
    change,
    written,
)

import xfelred as xf
from xfelred.errors import (
    InconsistentDataError,
    MissingConstantError,
    PropertyNameError,
)
from xfelred.synth.sacla import write_run


def test_flags_are_coordinates_and_arrays(tmp_path):
    truth = written(tmp_path)
    run = xf.open_run(truth.path)
    array = run.frames()
    np.testing.assert_array_equal(array.shutter_open, truth.shutter_open)
    np.testing.assert_array_equal(array.laser_on, truth.laser_on)
    assert array.beam.all()
    np.testing.assert_array_equal(run.darks, ~truth.shutter_open)
    np.testing.assert_array_equal(run.lit, truth.shutter_open)
    np.testing.assert_array_equal(run.pumped, truth.shutter_open & truth.laser_on)
    for flag in (run.darks, run.lit, run.pumped):
        assert flag.dtype == bool
        np.testing.assert_array_equal(flag.train, truth.tags)


def test_no_darks(tmp_path):
    run = xf.open_run(written(tmp_path, n_darks=0).path)
    assert not run.darks.any()
    assert run.lit.all()


def test_shots_without_beam_are_neither_lit_nor_dark(tmp_path):
    truth = written(tmp_path)
    status = np.ones(12, np.int32)
    status[5] = 0
    change(truth, "acc/accelerator_status", status)
    run = xf.open_run(truth.path)
    assert not run.lit[5]
    assert not run.darks[5]
    assert run.lit.sum() == 8


def test_shutter_status_stands_in_for_the_selector(tmp_path):
    truth = written(tmp_path, columns={SELECTOR: None})
    run = xf.open_run(truth.path)
    np.testing.assert_array_equal(run.darks, ~truth.shutter_open)
    assert run.darks.attrs["told_by"] == OPEN


@pytest.mark.parametrize(
    ("beamline", "number", "told_by"),
    [
        (3, 178884, SELECTOR),
        (3, 909708, SELECTOR),
        (3, 909709, "shutter, head of the run"),
        (2, 32347, SELECTOR.replace("bl_3", "bl_2")),
        (2, 32348, "beam monitor, head of the run"),
        (2, 81549, "beam monitor, head of the run"),
        (2, 81550, "shutter, head of the run"),
    ],
)
def test_rules_of_the_beamlines(tmp_path, beamline, number, told_by):
    truth = written(tmp_path, beamline=beamline, run=number)
    run = xf.open_run(truth.path)
    assert run.darks.attrs["told_by"] == told_by
    np.testing.assert_array_equal(run.darks, ~truth.shutter_open)


@pytest.mark.parametrize("neither", [False, True])
def test_only_the_head_of_a_late_run_is_dark(tmp_path, neither):
    truth = written(tmp_path, run=909709)
    opened = truth.shots.shutter_open.astype(np.int32)
    opened[8] = 0
    closed = 1 - opened
    if neither:  # open nor closed: no dark, and the head of the run ends
        closed[1] = 0
    change(truth, OPEN, opened)
    change(truth, CLOSE, closed)
    found = xf.open_run(truth.path).darks.values.nonzero()[0].tolist()
    assert found == ([0] if neither else [0, 1, 2])


def test_charge_that_is_nan_is_dark_by_the_monitor(tmp_path):
    truth = written(tmp_path, beamline=2, run=40000)
    charge = np.full(12, 2e-8)
    charge[:4] = [np.nan, 0, 1e-11, np.nan]
    charge[9] = 0
    change(truth, "bm_1_signal_in_coulomb", charge)
    assert xf.open_run(truth.path).darks.values.nonzero()[0].tolist() == [0, 1, 2, 3]


NO_STATUS = {SELECTOR: None, OPEN: None, CLOSE: None}


def test_without_status_darks_must_be_told(tmp_path):
    truth = written(tmp_path, columns=NO_STATUS, n_events=20)
    run = xf.open_run(truth.path)
    assert "shutter_open" not in run.frames().coords
    with pytest.raises(MissingConstantError, match="dark_first=50"):
        run.darks  # noqa: B018
    assert "does not tell" in repr(run)
    told = xf.open_run(truth.path, dark_first=3)
    np.testing.assert_array_equal(told.darks, ~truth.shutter_open)
    assert told.select_trains(np.s_[2:]).darks.sum() == 1


def test_status_wins_over_dark_first(tmp_path):
    truth = written(tmp_path)
    run = xf.open_run(truth.path, dark_first=7)
    assert run.darks.sum() == 3


def test_darks_by_intensity(tmp_path):
    truth = written(tmp_path, columns=NO_STATUS, shape=(64, 64), jitter=0.1)
    run = xf.open_run(truth.path, dark_below=2.0)
    np.testing.assert_array_equal(run.darks, ~truth.shutter_open)
    assert run.darks.attrs["told_by"] == "intensity below 2"
    assert run.frames().in_event_table.all()


def test_without_event_table(tmp_path):
    truth = written(tmp_path, without_table=True)
    run = xf.open_run(truth.path)
    array = run.frames()
    assert not array.in_event_table.any()
    assert not array.photon_energy_ok.any()
    np.testing.assert_allclose(array.photon_energy, truth.config.energy)
    assert run.sources == ["MPCCD-8-2-002"]
    assert run.scalars([]).sizes == {"train": 0}
    told = xf.open_run(truth.path, dark_first=3)
    np.testing.assert_array_equal(told.darks, ~truth.shutter_open)
    np.testing.assert_array_equal(told.lit, truth.shutter_open)


def test_no_laser(tmp_path):
    run = xf.open_run(written(tmp_path, laser=None).path)
    assert "laser_on" not in run.frames().coords
    with pytest.raises(MissingConstantError, match="laser_pulse_selector_status"):
        run.pumped  # noqa: B018


# -- photon energy --------------------------------------------------------------------


def test_energies_that_are_none_are_replaced_and_flagged(tmp_path):
    bad = {3: np.nan, 4: 0.0, 5: -1.0, 6: np.inf}
    truth = written(tmp_path, energies=bad)
    run = xf.open_run(truth.path)
    array = run.frames()
    ok = ~np.isin(np.arange(12), list(bad))
    np.testing.assert_array_equal(array.photon_energy_ok, ok)
    np.testing.assert_allclose(
        array.photon_energy[ok], truth.shots.energy[ok], rtol=1e-6
    )
    np.testing.assert_allclose(array.photon_energy[~ok], truth.config.energy)
    raw = run.scalars([ENERGY])[ENERGY]
    assert np.isnan(raw[3])
    assert raw[4] == 0
    assert raw.dtype == np.float32


@pytest.mark.parametrize("config", [None, 200.0, 8.6, np.nan])
def test_median_where_the_configuration_is_not_plausible(tmp_path, config):
    truth = written(tmp_path, energies={2: np.nan})
    with h5py.File(truth.path, "r+") as file:
        group = file["run_300001/run_info/sacla_config"]
        del group["photon_energy_in_eV"]
        if config is not None:
            group["photon_energy_in_eV"] = config
    run = xf.open_run(truth.path)
    median = np.median(np.delete(truth.shots.energy, 2))
    np.testing.assert_allclose(run.frames().photon_energy[2], median, rtol=1e-6)
    np.testing.assert_allclose(run.photon_energy, median, rtol=1e-6)


def test_text_in_place_of_numbers(tmp_path):
    truth = written(tmp_path)
    values = [b"8610.5", b"not-converged", b"saturated"] + [b"8600"] * 9
    change(truth, ENERGY, np.array(values))
    run = xf.open_run(truth.path)
    ok = run.frames().photon_energy_ok.values
    assert ok.tolist() == [True, False, False, *[True] * 9]
    assert run.frames().photon_energy[0] == 8610.5
    assert run.event(ENERGY).values[:2].tolist() == ["8610.5", "not-converged"]


def test_no_energy_at_all(tmp_path):
    truth = written(tmp_path, columns={ENERGY: None})
    with h5py.File(truth.path, "r+") as file:
        del file["run_300001/run_info"]
    array = xf.open_run(truth.path).frames()
    assert np.isnan(array.photon_energy).all()
    assert not array.photon_energy_ok.any()


# -- values per shot ------------------------------------------------------------------


def test_scalars_by_path_and_alias(tmp_path):
    truth = written(tmp_path, n_events=20)
    found = xf.open_run(truth.path).scalars([ENERGY, "I0", "delay", "laser_status"])
    np.testing.assert_array_equal(found.train, truth.event_tags)
    np.testing.assert_array_equal(found[ENERGY], truth.shots.energy.astype("f4"))
    assert found["I0"].attrs["column"] == "bl_3/oh_2/bm_1_pulse_energy_in_joule"
    assert found["I0"].attrs["units"] == "J"
    assert found["delay"].attrs["units"] == "ps"
    np.testing.assert_array_equal(found["laser_status"], truth.shots.laser_on)
    assert found.attrs["history"].startswith("scalars {")


def test_scalars_by_glob(tmp_path):
    run = xf.open_run(written(tmp_path).path)
    every = set(run.scalars(["*"]))
    assert {ENERGY, "acc/accelerator_status"} <= every
    assert "*" not in every
    found = run.scalars(["*energy*", "delay"])
    assert set(found) == {v for v in every if "energy" in v} | {"delay"}
    np.testing.assert_array_equal(found[ENERGY], run.scalars([ENERGY])[ENERGY])
    with pytest.raises(PropertyNameError, match=r"fits 'x\*'.*acc/accelerator_status"):
        run.scalars(["x*"])


def test_missing_keys_can_be_ignored(tmp_path):
    run = xf.open_run(written(tmp_path).path)
    found = run.scalars(["dealy", "x*", "delay"], missing_keys="ignore")
    assert list(found) == ["delay"]
    assert not list(run.scalars(["dealy"], missing_keys="ignore"))
    with pytest.raises(ValueError, match="missing_keys='warn'"):
        run.scalars(["delay"], missing_keys="warn")


def test_aliases_fall_through(tmp_path):
    old = {f"bl_3/oh_2/bm_{i}_pulse_energy_in_joule": None for i in (1, 2)}
    truth = written(tmp_path, columns=old)
    found = xf.open_run(truth.path).scalars(["i0"])
    assert found["i0"].attrs["column"] == "bm_1_signal_in_coulomb"
    new = "xfel_bl_3_st_1_bm_1_pd_upper_fitting_peak/voltage"
    truth = write_run(
        tmp_path / "new.h5", n_images=3, shape=SHAPE,
        columns={**old, "bm_1_signal_in_coulomb": new},
    )  # fmt: skip
    assert xf.open_run(truth.path).scalars(["I0"])["I0"].attrs["column"] == new


def test_temperature_of_a_module(tmp_path):
    truth = written(tmp_path, layout="modules", modules=(1, 4), missing={(2, 4)})
    name = "detector_2d_4/temperature"
    found = xf.open_run(truth.path).scalars([name])[name]
    assert np.flatnonzero(np.isnan(found)).tolist() == [2]


def test_unknown_columns_suggest_known_ones(tmp_path):
    run = xf.open_run(written(tmp_path).path)
    with pytest.raises(PropertyNameError, match="Did you mean 'delay'"):
        run.scalars(["dealy"])
    with pytest.raises(PropertyNameError, match="photon_energy_in_eV"):
        run.event("bl_3/oh_2/photon_energy_in_ev")
    with pytest.raises(TypeError, match="list of keys"):
        run.scalars("delay")


def test_column_of_another_length_is_an_error(tmp_path):
    truth = written(tmp_path)
    change(truth, "short", np.arange(5))
    with pytest.raises(InconsistentDataError, match=r"shape \(5,\)"):
        xf.open_run(truth.path).scalars(["short"])


def test_vectors_keep_their_axis(tmp_path):
    truth = written(tmp_path)
    change(truth, "wave", np.arange(36).reshape(12, 3))
    found = xf.open_run(truth.path).select_trains(np.s_[4:6]).scalars(["wave"])
    np.testing.assert_array_equal(found["wave"], [[12, 13, 14], [15, 16, 17]])
