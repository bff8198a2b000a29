"""Values per pulse without IDs, such as those of an XGM, in cubes of frames."""

import json

import numpy as np
import pytest

import xfelred as xf
from tests.support.euxfel_files import (
    JUNGFRAU,
    LPD,
    Fast,
    Slow,
    jungfrau,
    lpd,
    write_file,
)
from xfelred.errors import ConfigError

XGM = "SA3_XTD10_XGM/XGM/DOOCS:output"
ENERGY = f"{XGM}.data.intensityTD"
BUNCHES = "SA3_XTD10_XGM/XGM/DOOCS.pulseEnergy.numberOfBunches"
FRAMES = [1, 3, 5, 7, 9, 11]  # pulse IDs that the detector records
PULSES = [3, 7, 11, 15]  # X-rays: a dark frame in between, one pulse without a frame
HEAD = {"schema_version": 1, "kind": "cube", "detectors": {LPD: {}}}
LIT = {"filters": {"lit": [f"{ENERGY} > 20"]}}
N_TRAINS = 3


@pytest.fixture(scope="module")
def energies():
    """Energies of the pulses of each train; train 102 has only two of them."""
    values = np.full((N_TRAINS, 30), 1000.0)  # padding looks like a large energy
    values[:, :4] = [[30, 40, 50, 60], [31, 41, 51, 61], [32, 42, 1000, 1000]]
    return values


@pytest.fixture(scope="module")
def run(energies, tmp_path_factory):
    place = tmp_path_factory.mktemp("xgm")
    trains = [100, 101, 102]
    pixels = np.zeros((N_TRAINS, len(FRAMES)))
    for i in range(N_TRAINS):
        for k, pulse in enumerate(PULSES[: 4 - 2 * (i == 2)]):
            if pulse in FRAMES:
                pixels[i, FRAMES.index(pulse)] = energies[i, k]
    write_file(place / "LPD.h5", trains, lpd(0, [6] * 3, FRAMES * 3, pixels.ravel()))
    parts = [
        Fast(XGM, "data", [1] * 3, {"intensityTD": energies.astype("f4")}),
        Slow("SA3_XTD10_XGM/XGM/DOOCS", {
            "pulseEnergy.numberOfBunches": np.array([4, 4, 2]),
            "pulseEnergy.wrong": np.array([0.5, 4, 2]),
        }),
    ]  # fmt: skip
    write_file(place / "DA.h5", trains, *parts)
    return xf.open_run(place)


def mean(cube):
    return float(cube[f"{LPD}_mean"].values[..., 0, 0, 0].ravel()[0])


BY_ID = {
    "ids": {"ids": PULSES, "n": BUNCHES},
    "start and step": {"start": 3, "step": 4, "n": BUNCHES},
}


@pytest.mark.filterwarnings("ignore:.*1 of 4 values are of pulses that the detector")
@pytest.mark.parametrize("how", BY_ID)
def test_values_go_to_the_frames_of_their_pulses(how, run):
    recipe = {
        **HEAD,
        **LIT,
        "variables": [ENERGY],
        "pulse_values": {ENERGY: BY_ID[how]},
    }
    cube = xf.make_cube(run, recipe, filter="lit").compute()
    energies = [30, 40, 50, 31, 41, 51, 32, 42]  # 60 and 61 have no frame
    assert mean(cube) == pytest.approx(np.mean(energies))
    assert int(cube[f"{LPD}_shots"].sum()) == len(energies)
    name = ENERGY.replace("/", "__")
    assert float(cube[f"{name}_mean"].sum()) == pytest.approx(np.mean(energies))
    assert int(cube[f"{name}_count"].sum()) == len(energies)
    assert json.dumps(ENERGY) in cube.attrs["history"]
    assert "pulse_values" in cube.attrs["history"]


def test_a_list_stands_for_ids_and_all_of_them_count(run):
    recipe = {**HEAD, **LIT, "pulse_values": {ENERGY: PULSES[:2]}}
    cube = xf.make_cube(run.select_trains([0, 2]), recipe, filter="lit").compute()
    assert mean(cube) == pytest.approx(np.mean([30, 40, 32, 42]))


WHERE = {
    "a cut": LIT,
    "a bin": {"bins": {ENERGY: {"edges": [0, 100]}}},
    "a variable": {"variables": [ENERGY]},
    "a variable without frames": {"variables": [ENERGY], "detectors": {}},
    "a delay": {
        "bins": {"delay": {"edges": [0, 100]}},
        "delay": {"nominal": [ENERGY, "ps"], "use_tt": False},
    },
}


@pytest.mark.parametrize("where", WHERE)
def test_a_recipe_that_does_not_say_whose_values_these_are_is_refused(where, run):
    with pytest.raises(ConfigError, match=f"pulse_values: {{'{ENERGY}': {{ids"):
        xf.make_cube(run, {**HEAD, **WHERE[where]}, filter=next(iter(LIT["filters"]))
                     if where == "a cut" else None)  # fmt: skip


WRONG = {
    "6 frames, but 4 values": {"by": "position", "n": 4},
    "no pulse ID is one of the detector's": [0, 2, 4],
    "40 pulses in a train, but 30 values": {"start": 1, "step": 1, "n": 40},
    "not the number of pulses": {
        "ids": PULSES, "n": BUNCHES.replace("numberOfBunches", "wrong")
    },
    "noSuchKey": {"ids": PULSES, "n": BUNCHES.replace("numberOfBunches", "noSuchKey")},
    "n is missing": {"by": "position"},
    "give one of": {"by": "position", "ids": [1], "n": 3},
    "give both": {"start": 1, "n": 3},
    "is there twice": [1, 1],
}  # fmt: skip


def test_pulses_of_a_misspelt_value_are_refused(run):
    recipe = {**HEAD, "pulse_values": {ENERGY.replace("TD", "td"): PULSES}}
    with pytest.raises(ConfigError, match=rf"Did you mean '{ENERGY}'"):
        xf.make_cube(run, {**recipe, **LIT}, filter="lit")


@pytest.mark.parametrize("text", WRONG)
def test_what_does_not_fit_is_refused_with_its_key(text, run):
    recipe = {**HEAD, **LIT, "pulse_values": {ENERGY: WRONG[text]}}
    with pytest.raises(ConfigError, match=text) as caught:
        xf.make_cube(run, recipe, filter="lit")
    assert "pulse_values" in str(caught.value)


def test_positions_count_where_every_frame_has_a_value(tmp_path):
    """Ragged trains, the number of pulses from a scalar."""
    counts, energies = [2, 3], np.full((2, 9), 77.0, "f4")
    energies[0, :2], energies[1, :3] = [5, 6], [7, np.nan, 9]
    pixels = [5, 6, 7, 8, 9]
    write_file(tmp_path / "L.h5", [1, 2], lpd(0, counts, [2, 8, 0, 2, 8], pixels))
    parts = [
        Fast(XGM, "data", [1, 1], {"intensityTD": energies}),
        Slow("X/Y/Z", {"n": np.array(counts)}),
    ]
    write_file(tmp_path / "D.h5", [1, 2], *parts)
    recipe = {
        **HEAD, "bins": {ENERGY: {"edges": [0, 6.5, 100]}},
        "pulse_values": {ENERGY: {"by": "position", "n": "X/Y/Z.n"}},
    }  # fmt: skip
    with pytest.warns(UserWarning, match="is padding"):
        cube = xf.make_cube(xf.open_run(tmp_path), recipe)
    got = cube[f"{LPD}_sum"].values[:, 0, 0, 0]
    assert got.tolist() == [11, 16]  # the frame with NaN is in no bin


def test_memory_cells_are_no_pulse_ids(tmp_path):
    write_file(tmp_path / "J.h5", [1, 2], jungfrau(1, 2, cells=3))
    vectors = Fast(XGM, "data", [1, 1], {"intensityTD": np.ones((2, 9), "f4")})
    write_file(tmp_path / "D.h5", [1, 2], vectors)
    recipe = {**HEAD, "detectors": {JUNGFRAU: {}}, "variables": [ENERGY]}
    recipe["pulse_values"] = {ENERGY: [0, 1, 2]}
    with pytest.raises(ConfigError, match="by: position"):
        xf.make_cube(xf.open_run(tmp_path), recipe)
    recipe["pulse_values"] = {ENERGY: {"by": "position", "n": 3}}
    cube = xf.make_cube(xf.open_run(tmp_path), recipe)
    assert int(cube[f"{JUNGFRAU}_shots"].sum()) == 6


def test_trains_whose_number_of_pulses_is_missing_are_told(tmp_path):
    write_file(tmp_path / "L.h5", [1, 2], lpd(0, [2, 2], [2, 8] * 2, [5, 6, 7, 8]))
    vectors = np.array([[5, 6, 0], [7, 8, 0]], "f4")
    write_file(tmp_path / "D.h5", [1, 2],
               Fast(XGM, "data", [1, 1], {"intensityTD": vectors}))  # fmt: skip
    write_file(tmp_path / "N.h5", [2], Slow("X/Y/Z", {"n": np.array([2])}))
    recipe = {
        **HEAD, "bins": {ENERGY: {"edges": [0, 100]}},
        "pulse_values": {ENERGY: {"ids": [2, 8], "n": "X/Y/Z.n"}},
    }  # fmt: skip
    with pytest.warns(UserWarning, match=r"X/Y/Z.n is missing in 1 of 2 trains"):
        cube = xf.make_cube(xf.open_run(tmp_path), recipe)
    assert float(cube[f"{LPD}_sum"][0, 0, 0, 0]) == 15
