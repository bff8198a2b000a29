"""Runs as scripts written for EXtra-data use them."""

import os

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest

import xfelred as xf
from tests.support.euxfel_files import Fast, Slow, lpd, write_file
from xfelred import H5File, RunDirectory, by_id, by_index, open_run
from xfelred.errors import (
    ConfigError,
    OutputExistsError,
    RunNameError,
    TrainIDError,
)
from xfelred.readers.euxfel.extra_data.file_names import FileNames
from xfelred.synth.euxfel import write_run
from xfelred.synth.sacla import write_run as write_sacla_run

CAMERA, GAUGE = "HED_EXP/CAM/SIDE:output", "HED_EXP/VAC/GAUGE"
ROWS = np.arange(60.0).reshape(5, 3, 4)  # counts 1 0 2 | 1 1


@pytest.fixture
def directory(tmp_path):
    """Two sequence files of one aggregator and one file of another."""
    place = tmp_path / "r0007"
    parts = [([20, 21, 22], [1, 0, 2], ROWS[:3]), ([23, 24], [1, 1], ROWS[3:])]
    for i, (trains, counts, rows) in enumerate(parts):
        write_file(
            place / f"RAW-R0007-DA02-S0000{i}.h5", trains,
            Fast(CAMERA, "data", counts, {"image": rows}), run=7,
        )  # fmt: skip
    pressure = {"p": np.arange(5), "q": np.arange(5.0), "deep.p": np.arange(5)}
    write_file(
        place / "RAW-R0007-DA01-S00000.h5", range(20, 25), Slow(GAUGE, pressure), run=7
    )
    return place


@pytest.fixture
def run(directory):
    return RunDirectory(directory)


def names(part):
    return [os.path.basename(f.filename)[10:-3] for f in part.files]


def test_a_run_stays_usable_behind_a_with_block(directory, run):
    with RunDirectory(directory) as one, H5File(one.files[0].filename) as file:
        lazy = one.get_dask_array(CAMERA, "data.image")
    np.testing.assert_array_equal(lazy.compute(), ROWS)
    assert file.get_array(GAUGE, "p").values.tolist() == [0, 1, 2, 3, 4]
    run.close()
    assert run.get_series(GAUGE, "p").tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0


def test_runs_of_other_facilities_stand_in_a_with_statement(tmp_path):
    truth = write_sacla_run(tmp_path / "run.h5", n_images=3)
    with open_run(truth.path) as run:
        assert len(run.train_ids) > 0


def test_files_are_those_with_selected_sources_and_trains(run):
    assert names(run) == ["DA01-S00000", "DA02-S00000", "DA02-S00001"]
    assert names(run.select(CAMERA)) == ["DA02-S00000", "DA02-S00001"]
    late = run.select_trains(by_id[23:])
    assert names(late) == ["DA01-S00000", "DA02-S00001"]
    assert names(late[CAMERA]) == names(late[CAMERA, "data.image"]) == ["DA02-S00001"]
    parts = run[CAMERA, "data.image"].split_trains(parts=2)
    assert [names(p) for p in parts] == [["DA02-S00000"], names(run[CAMERA])]
    assert len(run.select_trains([]).files) == 1
    # The rest of the run stays known: its keys, and what it is made of.
    assert late.select_trains([])[CAMERA, "data.image"].shape == (0, 3, 4)


def test_a_file_tells_what_its_name_says(run):
    file = run.files[1]
    assert (file.data_category, file.run, file.aggregator) == ("RAW", 7, "DA02")
    assert (file.sequence, file.format_version) == (0, "1.2")
    assert file.validity_flag.tolist() == [True] * 3
    assert file.instrument_sources == {CAMERA}
    assert file.control_sources == set()
    assert (file.storage_class, file.cycle, file.proposal) == (None, None, None)
    assert file.has_train_ids([1, 22])
    assert not file.has_train_ids([23])
    assert file.valid_train_ids.tolist() == [20, 21, 22]
    assert file.all_sources == {CAMERA}
    assert "INDEX/trainId" in file.file
    file.close()
    assert file.file["INDEX/trainId"][0] == 20


@pytest.mark.parametrize(
    "place",
    ["gpfs/exfel/exp/MID/202302/p000042/proc/r0009",
     "gpfs/exfel/d/proc/MID/202302/p000042/r0009",
     "pnfs/xfel.eu/exfel/archive/XFEL/proc/MID/202302/p000042/r0009"],
)  # fmt: skip
def test_a_file_tells_what_its_directory_says(place):
    names = FileNames()
    names.path = f"/{place}/CORR-R0009-AGIPD03-S00012.h5"
    got = names.storage_class, names.cycle, names.proposal, names.run, names.sequence
    assert got == ("proc", "202302", 42, 9, 12)
    assert (names.data_category, names.aggregator) == ("CORR", "AGIPD03")


def test_keys_are_selected_and_left_out_by_globs(run):
    assert run.select(GAUGE, "deep.*").selection == {GAUGE: {"deep.p.value"}}
    assert run.select(GAUGE, "?")[GAUGE].keys() == {"p.value", "q.value"}
    rest = run.deselect(GAUGE, "[pq]")
    assert rest[GAUGE].keys() == {"deep.p.value"}
    assert rest.selection[CAMERA] is None
    with pytest.raises(TypeError, match="select_trains"):
        run[GAUGE, 3]


def test_a_union_has_all_trains_of_every_source(run):
    both = run.select(GAUGE)[:2] | run.select(CAMERA)[-2:]
    assert both.train_ids == both[GAUGE].train_ids == both[CAMERA].train_ids
    assert both.train_ids == [20, 21, 23, 24]
    assert both[GAUGE, "p"].ndarray().tolist() == [0, 1, 3, 4]
    keys = run.select(GAUGE, "p")
    keys |= run.select(GAUGE, "q")
    assert keys.selection == {GAUGE: {"p.value", "q.value"}}


def test_what_selects_no_train_says_where_it_lies(run):
    for chosen, why in [
        (by_id[1:20], "before"), (by_id[25:30], "after"), (by_id[[3, 99]], "not found"),
    ]:  # fmt: skip
        with pytest.warns(UserWarning, match=why):
            assert run.select_trains(chosen).train_ids == []


def test_dropped_trains_are_counted(tmp_path):
    dark = Fast(CAMERA, "data", [0, 0], {"image": ROWS[:0]})
    path = write_file(tmp_path / "a.h5", [1, 2], dark, Slow(GAUGE, {"p": [1, 2]}))
    with pytest.warns(UserWarning, match=r"2/2 \(100%\) trains dropped.*SIDE"):
        assert H5File(path).select("*", require_all=True).train_ids == []


@pytest.mark.parametrize("named", [True, False])
def test_a_virtual_dataset_shows_all_entries(named, run, tmp_path):
    path = tmp_path / "new" if named else None
    trains = [0, 2, 4]
    shown = run.select_trains(trains).get_virtual_dataset(CAMERA, "data.image", path)
    assert shown.is_virtual
    np.testing.assert_array_equal(shown[:], ROWS[[0, 1, 2, 4]])
    assert not named or shown.file.filename == str(path)
    again = H5File(shown.file.filename)
    assert again.train_ids == [20, 22, 24]
    assert again.run_metadata()["runNumber"] == 7
    np.testing.assert_array_equal(again[CAMERA, "data.image"].ndarray(), shown[:])
    pressure = run.get_virtual_dataset(GAUGE, "p")
    assert pressure[:].tolist() == [0, 1, 2, 3, 4]


def test_a_virtual_dataset_never_replaces_what_it_shows(run):
    path = run.files[1].filename
    with pytest.raises(OutputExistsError, match="one of the files"):
        run.get_virtual_dataset(CAMERA, "data.image", path)
    np.testing.assert_array_equal(run[CAMERA, "data.image"].ndarray(), ROWS)
    with h5py.File(path) as f:
        assert not f[f"INSTRUMENT/{CAMERA}/data/image"].is_virtual


def test_missing_data_are_plotted_by_source(run):
    axes = run.plot_missing_data()
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels == [f"{CAMERA} (80.00%)"]
    missing = axes.collections[1].get_paths()
    assert [p.get_extents().bounds[::2] for p in missing] == [(1.0, 1.0)]
    assert run.plot_missing_data(min_saved_pct=50).get_yticklabels() == []
    by_group = run.plot_missing_data(100, expand_instrument=True)
    texts = {t.get_text() for t in by_group.get_yticklabels()}
    assert texts == {f"{CAMERA} data.* (80.00%)", f"{GAUGE} (100.00%)"}
    plt.close("all")


def test_a_train_tells_its_sources(run, capsys):
    run.train_info(24)
    assert {CAMERA, GAUGE} <= set(capsys.readouterr().out.replace("- ", "").split())
    with pytest.raises(TrainIDError):
        run.train_info(99)
    run.info(counts=True)
    assert f"{CAMERA} 5 entries" in capsys.readouterr().out


def test_local_time_needs_something_that_knows_zones(run):
    with pytest.raises(ConfigError, match="labelled=True"):
        run.train_timestamps(euxfel_local_time=True)


def test_times_lose_their_nanoseconds_in_silence(tmp_path):
    path = write_file(tmp_path / "a.h5", [1, 2], Slow(GAUGE, {"p": [1, 2]}))
    with h5py.File(path, "r+") as f:
        f["INDEX/timestamp"] = np.array([1_600_000_000_123_456_789, 0], np.uint64)
    first, unknown = H5File(path).train_timestamps(pydatetime=True)
    assert first.isoformat() == "2020-09-13T12:26:40.123456+00:00"
    assert unknown is None


def test_old_names_of_sources_are_selected_and_joined(tmp_path, capsys):
    truth = write_run(tmp_path, modules=(0, 3), n_trains=2, pulses=1,
                      legacy_sources=True)  # fmt: skip
    run = open_run(truth.directory)
    new = [truth.source(m) for m in (0, 3)]
    old = sorted(run.legacy_sources)
    assert run.select(old[0]).all_sources == {old[0]}
    assert run.select(new[1]).all_sources == {new[1]}
    assert run.select(new[1]).legacy_sources == {}
    assert run.deselect("*XGM*").legacy_sources == run.legacy_sources
    assert run.detector().data.all_sources == set(new)
    with pytest.warns(DeprecationWarning, match="old name"):
        source = run[old[0]]
    assert (source.source, source.canonical_name) == (old[0], new[0])
    assert source["image.data"].source == old[0]
    _, few = next(run.select(old[0], "image.pulseId").trains())
    assert few.keys() == {old[0]}
    assert few[old[0]]["metadata"]["source"] == old[0]
    _, flat = next(run.trains(flat_keys=True))
    for key in ("image.data", "image.pulseId"):
        assert flat[old[1], key] is flat[new[1], key]
    run.info()
    assert "/DET/* -> SPB_DET_AGIPD1M-1/CORR/*" in capsys.readouterr().out


def test_a_proposal_is_opened_by_keywords(tmp_path, monkeypatch):
    monkeypatch.setenv("EXTRA_DATA_DATA_ROOT", str(tmp_path))
    place = tmp_path / "FXE/202301/p000012/raw/r0003"
    for i in range(2):
        write_file(place / f"F{i}.h5", [5], Slow(f"A/B/{i}", {"v": [i]}))
    run = open_run(proposal=12, run=np.uint16(3), data="raw", parallelize=False)
    assert run.all_sources == {"A/B/0", "A/B/1"}
    some = open_run(proposal="p000012", run="3", file_filter=lambda paths: paths[:1])
    assert some.all_sources == {"A/B/0"}
    with pytest.warns(UserWarning, match=r"aliases.*not supported"):
        open_run(12, 3, aliases="x.yml")
    for wrong in ({"proposal": 12}, {}, {"source": 12, "proposal": 12, "run": 3}):
        with pytest.raises(RunNameError, match="a proposal and a run"):
            open_run(**wrong)


def test_detectors_are_found_where_scripts_import_them(tmp_path):
    write_file(tmp_path / "A-R0001-L0-S00000.h5", [7], lpd(0, [1], [4]))
    run = open_run(tmp_path)
    name, cls = xf.components.identify_multimod_detectors(run, single=True)
    assert (name, cls) == ("FXE_DET_LPD1M-1", xf.LPD1M)
    detector = xf.components.LPD1M(run)
    assert isinstance(detector, xf.components.XtdfDetectorBase)
    assert isinstance(detector["image.data"], xf.components.MultimodKeyData)
    assert not isinstance(detector, xf.components.JUNGFRAU)


def test_parts_of_a_run_are_shown_on_one_line(run):
    assert repr(run[CAMERA][:2]).endswith(f"{CAMERA!r} for 2 trains>")
    assert repr(run.files[1]).endswith("DA02-S00000.h5, 3 trains>")


def test_a_part_of_a_run_is_opened_as_a_run(run):
    part = open_run(run[CAMERA].select_keys("data.image")[2:])
    assert part.train_ids == [22, 23, 24]
    assert part.selection == {CAMERA: {"data.image"}}
    np.testing.assert_array_equal(part[CAMERA, "data.image"].ndarray(), ROWS[1:])
    assert open_run(run[GAUGE, "p"]).selection == {GAUGE: {"p.value"}}


def test_parts_of_a_run_are_instances_of_their_classes(run):
    assert isinstance(run, xf.DataCollection)
    assert isinstance(run[GAUGE], xf.SourceData)
    assert isinstance(run[GAUGE, "p"], xf.KeyData)


def test_selections_are_shown_as_written():
    for text, shown in [
        ("by_id[5:]", by_id[5:]), ("by_id[[3, 4]]", by_id[[3, 4]]),
        ("by_index[::2]", by_index[::2]),
        ("by_index[1, ..., :3]", by_index[1, ..., :3]),
        ("by_id[:, -2::3]", by_id[:, -2::3]), ("by_index[4]", by_index[4]),
    ]:  # fmt: skip
        assert repr(shown) == text
