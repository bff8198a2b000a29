"""Faults that are put into runs are found, and runs without are fine."""

import json
import os
import shutil

import h5py
import numpy as np
import pytest

import xfelred as xf
from tests.support.run_copies import copied
from xfelred import synth
from xfelred.checks import findings, opening, structure
from xfelred.cli.main import run as command
from xfelred.errors import ArgumentError
from xfelred.hdf5 import objects
from xfelred.synth import faults

pytestmark = pytest.mark.slow

KINDS_IN_TABLE = ("fault", "warning")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return synth.euxfel.write_run(
        tmp_path_factory.mktemp("sound"), modules=(0, 3), n_trains=6, pulses=(0, 4),
        sequences=2, compression="gzip",
    )  # fmt: skip


@pytest.fixture
def truth(sound, tmp_path):
    """A copy of the sound run, to be damaged."""
    return copied(sound, tmp_path / "run")


def pixels(truth, module=0):
    return f"INSTRUMENT/{truth.source(module)}/image/data"


def write_attributes(path):
    with h5py.File(path, "r+") as file:
        file["INDEX/flag"][0] = 0


def other_mask(truth):
    with h5py.File(truth.file(0), "r+") as file:
        name = pixels(truth).replace("/data", "/mask")
        values = file[name][:, :100]
        del file[name]
        file[name] = values


def impossible_index(truth):
    with h5py.File(truth.file(0), "r+") as file:
        file[f"INDEX/{truth.source(0)}/image/first"][0] = 2**63


def overlapping_index(truth):
    with h5py.File(truth.file(0), "r+") as file:
        file[f"INDEX/{truth.source(0)}/image/first"][1] = 1


def remove_data(truth):
    with h5py.File(truth.file(0), "r+") as file:
        del file[f"INSTRUMENT/{truth.source(0)}/image"]


def broken_object(truth):
    with h5py.File(truth.file(0), "r") as file:
        offset = h5py.h5o.get_info(file[pixels(truth)].id).addr
    with open(truth.file(0), "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 16)


# What is damaged, the kind of finding, and what its text or object has.
FAULTS = {
    "truncated": (lambda t: faults.truncate(t.file(3)), "truncated file", "eof"),
    "no HDF5": (lambda t: faults.not_hdf5(t.file(3)), "unreadable file", "signature"),
    "object": (broken_object, "unreadable object", "image/data"),
    "no train IDs": (lambda t: faults.remove_index(t.file(0)),
                     "no usable index", "INDEX"),
    "no source index": (lambda t: faults.remove_source_index(t.file(0)),
                        "no index", "image"),
    "file twice": (lambda t: faults.duplicate_file(t.file(3)),
                   "trains in two files", "10000, 10001"),
    "train twice": (lambda t: faults.duplicate_train(t.file(0)),
                    "duplicate trains", "10000"),
    "order": (lambda t: faults.set_train_id(t.file(0), 1, 5),
              "trains out of order", "train 5 follows 10000"),
    "beyond": (lambda t: faults.index_beyond_data(t.file(0)),
               "index beyond data", "rows up to 1004"),
    "impossible": (impossible_index, "impossible index", "10000"),
    "overlap": (overlapping_index, "overlapping index", "10001"),
    "no data": (remove_data, "no data", "4 rows are announced"),
    "counts": (lambda t: faults.mismatch_counts(t.file(0)),
               "inconsistent frames", "counts"),
    "pulses": (lambda t: faults.mismatch_pulse_ids(t.file(0)),
               "inconsistent frames", "pulseId"),
    "cells": (lambda t: faults.mismatch_cell_ids(t.file(0)),
              "inconsistent frames", "cellId"),
    "dtype": (lambda t: faults.change_dtype(t.file(0), pixels(t), "f8"),
              "dtype or shape", "float64"),
    "mask": (other_mask, "mask of other shape", "100"),
}  # fmt: skip


def texts(report, kind):
    return [f"{f.object} {f.text}" for f in report.findings if f.kind == kind]


def test_a_run_without_faults_is_fine(truth):
    report = xf.check(truth.directory)
    assert report.ok
    assert report.faults == ()
    assert [f.kind for f in report.warnings] == ["missing modules"]
    assert (report.facility, report.n_trains) == ("euxfel", 6)
    files = sorted(truth.directory.glob("*.h5"))
    assert report.n_files == len(files)
    assert report.n_bytes == sum(f.stat().st_size for f in files)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_named_and_counted(name, truth):
    damage, kind, part = FAULTS[name]
    damage(truth)
    report = xf.check(truth.directory)
    assert not report.ok
    assert any(part in text for text in texts(report, kind)), report
    assert all(f.severity == "fault" for f in report.findings if f.kind == kind)
    damaged = {os.path.basename(f.file) for f in report.findings if f.file}
    names = {truth.file(m).name for m in (0, 3)} | {"CORR-R0001-AGIPD03-S00099.h5"}
    assert damaged <= names


def test_a_damaged_file_is_told_once(truth):
    faults.truncate(truth.file(3))
    report = xf.check(truth.directory)
    about = [f for f in report.findings if f.file == str(truth.file(3))]
    assert [f.kind for f in about] == ["truncated file"]


def test_what_a_file_calls_suspect_is_a_warning(truth):
    write_attributes(truth.file(0))
    report = xf.check(truth.directory)
    (found,) = [f for f in report.findings if f.kind == "suspect trains"]
    assert found.severity == "warning"
    assert found.count == 1


def test_missing_frames_and_modules_are_warnings(tmp_path):
    synth.euxfel.write_run(
        tmp_path, modules=(0, 3), n_trains=4, pulses=(0, 4), missing={(3, 10001)}
    )
    report = xf.check(tmp_path)
    assert report.ok
    (text,) = texts(report, "missing frames")
    assert text.endswith("3: 1")
    (text,) = texts(report, "missing modules")
    assert "1, 2, 4, 5" in text
    assert "of 16" in text


@pytest.mark.parametrize("how", ["sample", "all"])
def test_values_are_read_on_request(how, truth):
    faults.damage_chunk(truth.file(0), pixels(truth), 3)
    assert xf.check(truth.directory).ok
    report = xf.check(truth.directory, pixels=how)
    (found,) = report.faults
    assert found.kind == "unreadable values"
    assert found.object == pixels(truth)
    assert found.count >= 1


def test_rows_without_numbers_and_whole_masks_are_found(truth):
    mask = pixels(truth).replace("/data", "/mask")
    with h5py.File(truth.file(0), "r+") as file:
        file[pixels(truth)][1] = np.nan
        file[mask][...] = 4
    report = xf.check(truth.directory, pixels="all")
    assert report.ok
    found = {f.kind: f for f in report.warnings}
    assert (found["no numbers"].object, found["no numbers"].count) == (pixels(truth), 1)
    assert (found["mask"].object, found["mask"].count) == (mask, 4)


def test_no_frame_is_read_unless_asked_for(truth, monkeypatch):
    read = []
    plain = objects.Dataset.__getitem__

    def watched(self, selection):
        found = plain(self, selection)
        read.append((self.name, getattr(found, "nbytes", 0)))
        return found

    monkeypatch.setattr(objects.Dataset, "__getitem__", watched)
    xf.check(truth.directory)
    assert sum(n for _, n in read) < 100_000
    assert not any("image/data" in name or "image/mask" in name for name, _ in read)


def test_files_of_sacla_are_checked(tmp_path):
    path = tmp_path / "300001.h5"
    synth.sacla.write_run(path, shape=(64, 64), n_images=6, n_darks=2)
    report = xf.check(shutil.copy(path, tmp_path / "fine.h5"), pixels="all")
    assert report.ok
    assert report.facility == "sacla"
    with h5py.File(path, "r+") as file:
        tag = next(k for k in file["run_300001/detector_2d_assembled_1"] if "tag" in k)
        name = f"run_300001/detector_2d_assembled_1/{tag}/detector_data"
        offset = h5py.h5o.get_info(file[name].id).addr
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 16)
    report = xf.check(path)
    assert [f.object for f in report.faults if f.kind == "unreadable object"] == [name]
    faults.truncate(path)
    report = xf.check(path)
    assert "truncated file" in {f.kind for f in report.faults}


def test_files_of_lcls_are_checked(tmp_path):
    path = tmp_path / "xpptut15_Run0054.h5"
    synth.lcls.write_smalldata(path)
    report = xf.check(shutil.copy(path, tmp_path / "xpptut15_Run0055.h5"))
    assert report.ok
    assert report.facility == "lcls"
    with h5py.File(path, "r+") as file:
        gain = file["UserDataCfg/jungfrau1M/gain"]
        gain[...] = 0
    (text,) = texts(xf.check(path), "constants")
    assert "jungfrau1M, gain" in text
    assert "100% of the values are 0" in text


@pytest.mark.parametrize(
    ("key", "values", "part"),
    [
        ("noise", np.full(2000, -1.0), "0 or less"),
        ("gain", np.zeros(2000), "are 0"),
        ("gain", np.full(2000, -3.0), ""),
        ("x", np.zeros(2000), ""),
        ("pedestal", np.full(2000, np.nan), "no numbers"),
        ("bad_pixels", np.ones(2000, bool), "100% of the pixels"),
        ("bad_pixels", np.zeros(2000, bool), ""),
        ("absolute_gain", np.array([1.0, 0.0]), "50%"),
    ],
)
def test_odd_constants_are_told_from_usual_ones(key, values, part):
    text = opening.what_is_odd(key, values)
    assert (part in text) if part else text == ""


def test_frames_that_were_never_written_are_named(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", (10, 100, 100), "f4", chunks=(1, 100, 100))
        file.create_dataset("few", (10,), "f4", chunks=(1,))
    (found,) = structure.look_at_file(str(path)).findings
    assert (found.kind, found.object, found.count) == ("never written", "frames", 10)


def test_an_open_run_can_be_checked(truth):
    run = xf.open_run(truth.directory)
    assert xf.check(run).findings == xf.check(truth.directory).findings


def test_pixels_takes_two_words(truth):
    with pytest.raises(ArgumentError, match="Did you mean 'sample'"):
        xf.check(truth.directory, pixels="samples")


def test_nothing_to_check_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        xf.check(tmp_path / "nothing")


def test_the_command_tells_by_its_exit_code(truth, tmp_path, capsys):
    assert command(["check", str(truth.directory)]) == 0
    assert "0 faults, 1 warnings" in capsys.readouterr().out
    # Another copy: HDF5 remembers files that this process has open.
    other = shutil.copytree(truth.directory, tmp_path / "other")
    faults.truncate(other / truth.file(3).name)
    assert command(["check", str(other)]) == 1
    out, err = capsys.readouterr()
    assert "truncated file" in out
    assert truth.file(3).name in out
    assert err == ""
    assert command(["check", str(tmp_path / "nothing")]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing" in err
    (tmp_path / "empty").mkdir()
    assert command(["check", str(tmp_path / "empty")]) == 3


def test_the_command_prints_one_object_for_programs(truth, capsys):
    faults.duplicate_train(truth.file(0))
    assert command(["check", str(truth.directory), "--json", "--pixels", "sample"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["ok"] is False
    assert content["pixels"] == "sample"
    found = next(f for f in content["findings"] if f["kind"] == "duplicate trains")
    assert set(found) == {"kind", "severity", "text", "file", "object", "count"}
    assert found["file"] == str(truth.file(0))


def test_control_characters_of_files_do_not_reach_the_terminal():
    found = findings.fault("unreadable object", "\x1b[2J" * 200, object="a\x07")
    assert "\x1b" not in found.line()
    assert "\x07" not in found.line()
    assert len(found.line()) < 500
    assert found.line().startswith(KINDS_IN_TABLE)


def test_a_table_for_people_stays_short():
    many = [findings.suspect("kind", f"text {i}") for i in range(500)]
    report = findings.Report("a", "", "", 0, 1, 1, 1, None, findings.collected(many))
    assert len(str(report).splitlines()) < 140
    assert "440 more" in str(report)
    assert len(report.to_dict()["findings"]) == 500


def sacla_run(path):
    path = path / "300001.h5"
    synth.sacla.write_run(path, shape=(16, 16), n_images=8, n_darks=2)
    return path


def small_data(path, **options):
    path = path / "xpptest01_Run0047.h5"
    options = {"n_events": 40, "without_image": 0, **options}
    synth.lcls.write_smalldata(path, **options)
    return path


def shorten(path, name):
    with h5py.File(path, "r+") as file:
        values = file[name][:-3]
        del file[name]
        file[name] = values


SHUTTER = "run_300001/event_info/bl_3/shutter_1_open_valid_status"
TAGS = "run_300001/event_info/tag_number_list"


@pytest.mark.parametrize(("make", "name", "told"), [
    (sacla_run, SHUTTER, SHUTTER),
    # All columns are then too long, and what needs one of them raises.
    (sacla_run, TAGS, SHUTTER),
    (small_data, "ipm2/sum", "ipm2/sum"),
    (lambda p: small_data(p, flavour="LCLS2"), "timestamp", "ipm2/sum"),
])  # fmt: skip
def test_columns_have_a_row_for_every_shot(make, name, told, tmp_path):
    path = make(tmp_path)
    shorten(path, name)
    found = {f.object for f in xf.check(path).faults if f.kind == "column length"}
    assert told in found


def test_an_event_table_without_tags_is_a_fault(tmp_path):
    path = sacla_run(tmp_path)
    faults.remove_dataset(path, TAGS)
    assert [f.kind for f in xf.check(path).faults] == ["no index"]


@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/nowhere"), h5py.ExternalLink("gone.h5", "/x")]
)
def test_links_that_lead_nowhere_are_faults(link, tmp_path):
    path = small_data(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["ipm2/sum"]
        file["ipm2/sum"] = link
        file["ipm2/other"] = h5py.SoftLink("/ipm2/channels")
    found = [f for f in xf.check(path).faults if f.kind == "unreadable object"]
    assert [f.object for f in found] == ["ipm2/sum"]


@pytest.mark.parametrize("key", ["calib", "raw", None])
def test_small_data_without_faults_are_fine(key, tmp_path):
    # A mask of LCLS is 1 where a pixel is good, and few files have frames.
    report = xf.check(small_data(tmp_path, key=key), pixels="all")
    assert not report.findings, report


def test_files_of_another_run_are_told(truth):
    with h5py.File(truth.file(3), "r+") as file:
        file["METADATA/runNumber"][...] = 99
    report = xf.check(truth.directory)
    assert [f.kind for f in report.warnings if "r0099" in f.text] == ["another run"]


def test_data_of_no_listed_source_are_a_fault(truth):
    with h5py.File(truth.file(0), "r+") as file:
        for name in ("dataSourceId", "deviceId", "root"):
            name = f"METADATA/dataSources/{name}"
            dtype = file[name].dtype
            del file[name]
            file[name] = np.zeros(0, dtype)
    found = [f for f in xf.check(truth.directory).faults if "dataSourceId" in f.text]
    assert [f.file for f in found] == [str(truth.file(0))]


def test_one_of_two_sizes_that_is_no_number_is_odd(tmp_path):
    path = sacla_run(tmp_path)
    with h5py.File(path, "r+") as file:
        info = file["run_300001/detector_2d_assembled_1/detector_info"]
        info["pixel_size_in_micro_meter"][...] = (np.nan, 50)
    found = [f for f in xf.check(path).warnings if f.kind == "constants"]
    assert [f.object.partition(", ")[2] for f in found] == ["pixel_size"]
