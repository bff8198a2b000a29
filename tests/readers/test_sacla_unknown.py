"""Shots of which a SACLA file does not tell what they are, and columns it lacks."""

import subprocess
import sys

import numpy as np
import pytest
from sacla_runs import (
    CLOSE,
    ENERGY,
    OPEN,
    SELECTOR,
    change,
    written,
)

import xfelred as xf
from xfelred import pairs
from xfelred.errors import BrokenFileError, InconsistentDataError, PropertyNameError
from xfelred.readers.sacla.places import ALIASES

MONITORS = tuple(f"bl_3/oh_2/bm_{i}_pulse_energy_in_joule" for i in (1, 2))


def check_unknown(run, unknown, dark):
    """Shots are dark, unknown or lit, and only lit ones are paired."""
    array = run.frames()
    n = len(run.train_ids)
    known = ~np.isin(np.arange(n), unknown)
    lit = known & ~np.isin(np.arange(n), dark)
    assert run.darks.values.nonzero()[0].tolist() == list(dark)
    np.testing.assert_array_equal(run.lit, lit)
    np.testing.assert_array_equal(array.shutter_open, lit)
    np.testing.assert_array_equal(array.shutter_known, known)
    paired = np.unique(pairs.consecutive(array.train))
    assert set(paired) <= set(array.train.values[lit])


def test_tags_without_a_row_are_neither_dark_nor_lit(tmp_path):
    truth = written(tmp_path, without_event={1, 5, 8})
    run = xf.open_run(truth.path)
    check_unknown(run, [1, 5, 8], [0, 2])
    assert not run.frames().beam[[1, 5, 8]].any()
    assert not run.pumped[[1, 5, 8]].any()
    assert "2 dark, 7 lit" in repr(run)
    assert "3 not in the event table" in repr(run)
    assert "3 not in the event table" in run._repr_html_()


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_shutter_of_unknown_status(tmp_path, unknown):
    truth = written(tmp_path)
    status = np.array([0, 0, 0, *[1.0] * 9])
    status[[1, 6]] = unknown
    change(truth, SELECTOR, status)
    run = xf.open_run(truth.path)
    check_unknown(run, [1, 6], [0, 2])
    assert "2 dark, 8 lit" in repr(run)
    assert "2 with unknown shutter" in repr(run)


def test_unknown_shutter_does_not_end_the_head_of_a_run(tmp_path):
    """Otherwise darks behind it would count as lit."""
    truth = written(tmp_path, run=909709)
    opened = np.array([0, 0, 0, *[1.0] * 9])
    closed = 1 - opened
    opened[1] = closed[7] = np.nan
    change(truth, OPEN, opened)
    change(truth, CLOSE, closed)
    check_unknown(xf.open_run(truth.path), [1, 7], [0, 2])


def test_unknown_beam_is_no_beam(tmp_path):
    truth = written(tmp_path)
    status = np.ones(12)
    status[5] = np.nan
    change(truth, "acc/accelerator_status", status)
    run = xf.open_run(truth.path)
    assert not run.frames().beam[5]
    assert not run.lit[5]
    assert not run.darks[5]
    assert "8 lit" in repr(run)
    assert "1 without beam" in repr(run)


def test_unusable_images_tell_no_intensity(tmp_path):
    none = {SELECTOR: None, OPEN: None, CLOSE: None}
    truth = written(
        tmp_path, columns=none, shape=(64, 64), jitter=0.1, without_data={1, 6}
    )
    run = xf.open_run(truth.path, dark_below=2.0)
    with pytest.warns(UserWarning, match="2 images"):
        run.frames()
    check_unknown(run, [1, 6], [0, 2])


def test_a_table_without_rows_tells_nothing(tmp_path):
    truth = written(tmp_path, without_event=set(range(12)))
    run = xf.open_run(truth.path)
    assert "shutter_open" not in run.frames().coords
    assert "does not tell" in repr(run)
    told = xf.open_run(truth.path, dark_first=3)
    np.testing.assert_array_equal(told.darks, ~truth.shutter_open)


# -- names of columns -----------------------------------------------------------------

DB_NAMES = ("shutter_1_{}_valid_status/status", "shutter_1_{}_valid/status")


@pytest.mark.parametrize("name", DB_NAMES)
@pytest.mark.parametrize(("beamline", "number"), [(2, 81550), (3, 909709), (3, 909708)])
def test_rules_for_names_of_the_data_base(tmp_path, name, beamline, number):
    """Shot 8 has a closed shutter too, but not at the head of the run."""
    columns = {SELECTOR: None} | {
        old: f"xfel_bl_{beamline}_{name.format(word)}"
        for old, word in ((OPEN, "open"), (CLOSE, "close"))
    }
    bl_3 = ["laser_pulse_selector_status", "electrical_delay_in_psec"]
    columns |= dict.fromkeys([f"bl_3/lh_1/{n}" for n in bl_3])
    columns |= dict.fromkeys([ENERGY, *MONITORS])
    truth = written(tmp_path, run=number, columns=columns)
    opened = truth.shots.shutter_open.astype(np.int32)
    opened[8] = 0
    change(truth, columns[OPEN], opened)
    change(truth, columns[CLOSE], 1 - opened)
    run = xf.open_run(truth.path)
    late = number >= 81550 if beamline == 2 else number >= 909709
    expected = [0, 1, 2] if late else [0, 1, 2, 8]
    assert run.darks.values.nonzero()[0].tolist() == expected
    told = "shutter, head of the run" if late else columns[OPEN]
    assert run.darks.attrs["told_by"] == told


@pytest.mark.parametrize(
    ("alias", "column"),
    [
        ("I0", "bl_3/oh_2/bm_1_horizontal"),
        ("beam_monitor", "xfel_bl_3_bm_1_charge_limit/voltage"),
        ("delay", "bl_3/lh_1/camera_delay_setting"),
    ],
)
def test_aliases_stand_for_nothing_else(tmp_path, alias, column):
    gone = [*MONITORS, "bm_1_signal_in_coulomb", "bl_3/lh_1/electrical_delay_in_psec"]
    truth = written(tmp_path, columns=dict.fromkeys(gone))
    change(truth, column, np.ones(12))
    run = xf.open_run(truth.path)
    with pytest.raises(PropertyNameError) as error:
        run.scalars([alias])
    text = str(error.value)
    assert f"no column for '{alias}'" in text
    assert ALIASES[alias][0] in text
    assert "Did you mean" not in text
    assert (run.scalars([column])[column] == 1).all()


def test_spectra_are_no_energies(tmp_path):
    truth = written(tmp_path, columns={ENERGY: None})
    change(truth, "bl_3/oh_2/photon_energy_spectrum", np.ones((12, 7)))
    run = xf.open_run(truth.path)
    assert not run.frames().photon_energy_ok.any()
    np.testing.assert_allclose(run.frames().photon_energy, truth.config.energy)
    with pytest.raises(PropertyNameError, match="no column for 'photon_energy'"):
        run.scalars(["photon_energy"])


def test_a_column_per_shot_is_preferred(tmp_path):
    truth = written(tmp_path, columns={ENERGY: "bl_3/spectrometer/photon_energy_in_eV"})
    change(truth, "bl_3/a/photon_energy_in_eV", np.ones((12, 7)))
    change(truth, "bl_3/b/photon_energy_in_eV", np.ones(5))
    run = xf.open_run(truth.path)
    expected = truth.shots.energy.astype("f4")
    np.testing.assert_array_equal(run.frames().photon_energy, expected)
    found = run.scalars(["photon_energy"])["photon_energy"]
    assert found.attrs["column"] == "bl_3/spectrometer/photon_energy_in_eV"


def test_several_numbers_per_shot_are_an_error_that_names_the_column(tmp_path):
    truth = written(tmp_path)
    change(truth, ENERGY, np.ones((12, 7)))
    with pytest.raises(InconsistentDataError, match=rf"{ENERGY} .*\(12, 7\)"):
        xf.open_run(truth.path).frames()


def test_one_number_on_an_axis_of_its_own_is_read(tmp_path):
    truth = written(tmp_path)
    change(truth, ENERGY, np.full((12, 1), 8600.0))
    assert (xf.open_run(truth.path).frames().photon_energy == 8600).all()


def test_compound_columns_are_no_numbers(tmp_path):
    truth = written(tmp_path)
    change(truth, ENERGY, np.zeros(12, [("a", "f4"), ("b", "f4")]))
    with pytest.raises(InconsistentDataError, match=f"{ENERGY} .*no numbers"):
        xf.open_run(truth.path).frames()


# -- files that somebody writes -------------------------------------------------------


@pytest.mark.parametrize("facility", [None, "sacla"])
def test_file_in_the_hands_of_a_writer(tmp_path, facility):
    truth = written(tmp_path)
    code = (
        "import h5py, sys; f = h5py.File(sys.argv[1], 'r+');"
        " print('open', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(truth.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(BrokenFileError, match="open in another process"):
            xf.open_run(truth.path, facility=facility)
    finally:
        writer.communicate(b"")
    assert xf.open_run(truth.path).frames().compute().sizes["train"] == 12
