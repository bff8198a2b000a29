"""What EXtra-data makes of damaged runs: every fault must really be one."""

import h5py
import numpy as np
import pytest

from xfelred.synth import faults
from xfelred.synth.euxfel import write_run

extra_data = pytest.importorskip("extra_data")
components = pytest.importorskip("extra_data.components")


@pytest.fixture
def truth(tmp_path):
    return write_run(
        tmp_path, modules=(0, 3), n_trains=4, pulses=(0, 8), compression="gzip"
    )


def open_run(truth, **options):
    return extra_data.RunDirectory(str(truth.directory), parallelize=False, **options)


@pytest.mark.parametrize(
    "damage",
    [
        faults.truncate,
        faults.not_hdf5,
        faults.remove_index,
        lambda p: faults.remove_dataset(p, "METADATA/dataSources/dataSourceId"),
    ],
)
def test_a_file_that_cannot_be_opened_is_skipped(damage, truth, capsys):
    damage(truth.file(3))
    run = open_run(truth)
    assert truth.source(0) in run.all_sources
    assert truth.source(3) not in run.all_sources
    assert truth.file(3).name in capsys.readouterr().err


def test_dropping_a_module(truth):
    assert faults.drop_module_file(truth.directory, 3) == [truth.file(3)]
    assert truth.source(3) not in open_run(truth).all_sources
    with pytest.raises(FileNotFoundError, match="no file of module 3"):
        faults.drop_module_file(truth.directory, 3)


def test_trains_in_two_files(truth):
    copy = faults.duplicate_file(truth.file(3))
    assert copy.name.endswith("AGIPD03-S00099.h5")
    with pytest.raises(ValueError, match="conflicting data"):
        open_run(truth)


def test_the_same_train_twice_in_a_file(truth):
    faults.duplicate_train(truth.file(0), 2)
    with pytest.raises(ValueError, match="conflicting data"):
        open_run(truth)


def test_train_id(truth):
    faults.set_train_id(truth.file(0), 2, 77)
    assert open_run(truth).train_ids == [77, 10000, 10001, 10002, 10003]


def test_index_beyond_the_data(truth):
    faults.index_beyond_data(truth.file(3))
    with h5py.File(truth.file(3)) as h5:
        index = h5[f"INDEX/{truth.source(3)}/image"]
        rows = len(h5[f"INSTRUMENT/{truth.source(3)}/image/data"])
        assert index["first"][-1] + index["count"][-1] > rows


def test_mismatching_labels(truth):
    faults.mismatch_cell_ids(truth.file(3), 2)
    faults.mismatch_pulse_ids(truth.file(3), 2)
    detector = components.AGIPD1M(open_run(truth))
    for label in ("pulseId", "cellId"):
        with pytest.raises(Exception, match=f"Inconsistent {label}"):
            detector.get_array("image.data", subtrain_index=label)


def test_mismatching_counts(truth):
    faults.mismatch_counts(truth.file(3), 1)
    with pytest.raises(ValueError, match="Inconsistent frame counts for train 10001"):
        components.AGIPD1M(open_run(truth))


def test_chunk_that_cannot_be_read(truth):
    name = f"INSTRUMENT/{truth.source(3)}/image/data"
    faults.damage_chunk(truth.file(3), name, 5)
    run = open_run(truth)
    with h5py.File(truth.file(3)) as h5:
        np.testing.assert_array_equal(h5[name][4], truth.frame(10002, 0, 3))
        with pytest.raises(OSError, match="filter returned failure"):
            h5[name][5]
    assert len(run.train_ids) == 4


def test_other_dtype_and_missing_source_index(truth):
    name = f"INSTRUMENT/{truth.source(3)}/image/data"
    faults.change_dtype(truth.file(3), name, "f8")
    with h5py.File(truth.file(3)) as h5:
        assert h5[name].dtype == np.float64
    faults.remove_source_index(truth.file(0))
    with h5py.File(truth.file(0)) as h5:
        assert truth.source(0) not in h5["INDEX"]


@pytest.mark.parametrize("version", ["0.5", "1.2"])
@pytest.mark.parametrize("kind", ["DSSC1M", "JUNGFRAU"])
def test_faults_of_the_index_work_on_every_form(version, kind, tmp_path):
    number = 1
    truth = write_run(
        tmp_path, kind=kind, modules=(number,), n_trains=2, pulses=1,
        format_version=version,
    )  # fmt: skip
    faults.index_beyond_data(truth.file(number), extra=9)
    faults.mismatch_counts(truth.file(number))
    group = truth.config.facts.group
    with h5py.File(truth.file(number)) as h5:
        index = h5[f"INDEX/{truth.source(number)}/{group}"]
        assert index["first"][:].tolist() == [0, 10]
        if version == "1.2":
            assert index["count"][:].tolist() == [0, 1]
        else:
            # 0 - 1 in unsigned arithmetic, as real files have it.
            assert index["last"][:].tolist() == [2**64 - 1, 10]
