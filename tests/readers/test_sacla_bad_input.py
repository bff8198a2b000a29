"""What is wrong with real SACLA files, and what becomes of it."""

import os
import warnings

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.errors import BrokenFileError, InconsistentDataError, UnknownFormatError
from xfelred.synth import faults
from xfelred.synth.sacla import write_run

SHAPE = (8, 6)


def written(tmp_path, **options):
    return write_run(
        tmp_path / "run.h5", **{"n_images": 10, "n_darks": 2, "shape": SHAPE, **options}
    )


def test_tags_are_sorted_by_number(tmp_path):
    """By name, tag_100000000 comes before tag_99999996."""
    truth = written(tmp_path, first_tag=99999990)
    run = xf.open_run(truth.path)
    assert run.train_ids == list(range(99999990, 100000010, 2))
    np.testing.assert_array_equal(run.frames(), truth.frames())
    np.testing.assert_array_equal(run.darks, np.arange(10) < 2)


@pytest.mark.parametrize(("step", "rate"), [(1, 60), (2, 30), (6, 10)])
def test_tag_steps(tmp_path, step, rate):
    truth = written(tmp_path, tag_step=step, n_images=4)
    run = xf.open_run(truth.path)
    assert run.tag_step == step
    assert 60 / rate == step
    np.testing.assert_array_equal(run.frames(), truth.frames())
    assert f"step {step})" in repr(run)
    assert run.select_trains([0]).tag_step == step


def test_unsigned_tags_never_wrap(tmp_path):
    truth = written(tmp_path, first_tag=2**32 - 40)
    array = xf.open_run(truth.path).frames()
    back = array.train.values[::-1]
    assert (np.diff(back) == -2).all()
    later = array.train - array.train[5]
    assert later[0] == -10
    events = xf.open_run(truth.path).scalars(["delay"])
    assert events.train.dtype == np.int64


def test_subset_and_gaps(tmp_path):
    truth = written(tmp_path, n_events=30, without_image={3, 7})
    run = xf.open_run(truth.path)
    assert len(run.train_ids) == 8
    np.testing.assert_array_equal(run.frames(), truth.frames())
    np.testing.assert_array_equal(run.frames().laser_on, truth.laser_on)
    assert "2 missing in between" in repr(run)


def test_images_without_a_row_of_events_are_kept(tmp_path):
    truth = written(tmp_path, without_event={1, 5})
    run = xf.open_run(truth.path)
    array = run.frames()
    assert array.sizes["train"] == 10
    known = ~np.isin(np.arange(10), [1, 5])
    np.testing.assert_array_equal(array.in_event_table, known)
    np.testing.assert_array_equal(array.photon_energy_ok, known)
    np.testing.assert_allclose(array.photon_energy[[1, 5]], truth.config.energy)
    # Nobody knows what they are: neither dark nor lit.
    assert not run.darks[[1, 5]].any()
    assert not run.lit[[1, 5]].any()
    assert run.frames(require="event").sizes["train"] == 8
    assert run.scalars(["delay"]).sizes["train"] == 8


def test_duplicate_tags(tmp_path):
    truth = written(tmp_path, duplicates={4})
    with pytest.raises(InconsistentDataError, match=r"more than once: 166762148"):
        xf.open_run(truth.path)
    run = xf.open_run(truth.path, duplicate_tags="first")
    assert run.scalars(["delay"]).sizes["train"] == 10
    np.testing.assert_array_equal(run.darks, np.arange(10) < 2)
    with pytest.raises(ValueError, match="duplicate_tags must be"):
        xf.open_run(truth.path, duplicate_tags="last")


def test_unsorted_table_is_joined_by_tag(tmp_path):
    truth = written(tmp_path)
    order = np.random.default_rng(3).permutation(10)
    with h5py.File(truth.path, "r+") as file:
        table = file["run_300001/event_info"]
        names = []
        table.visititems(
            lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None
        )
        for name in names:
            table[name][...] = table[name][()][order]
    run = xf.open_run(truth.path)
    np.testing.assert_array_equal(run.frames().laser_on, truth.laser_on)
    energy = run.frames().photon_energy
    np.testing.assert_allclose(energy, truth.shots.energy, rtol=1e-6)


def test_flagged_images_are_kept(tmp_path):
    truth = written(tmp_path, bad_status={6})
    array = xf.open_run(truth.path).frames()
    assert array.detector_status.dims == ("train",)
    assert array.detector_status.values.tolist() == [1] * 6 + [0] + [1] * 3
    assert array.available.all()
    good = array.isel(train=array.detector_status == 1)
    assert good.sizes["train"] == 9


@pytest.mark.parametrize("quick", [True, False])
def test_unusable_images_count_as_missing(tmp_path, quick):
    truth = written(tmp_path, odd_shape={0, 4}, without_data={7})
    if not quick:  # headers of version 2 are left to HDF5
        latest = h5py.File(tmp_path / "new.h5", "w", libver="latest")
        with latest as new, h5py.File(truth.path) as old:
            for name in old:
                old.copy(name, new)
        os.replace(tmp_path / "new.h5", truth.path)
    run = xf.open_run(truth.path)
    with pytest.warns(UserWarning, match=r"3 images .*tag 166762140.*another shape"):
        array = run.frames()
    np.testing.assert_array_equal(array, truth.frames())
    assert np.flatnonzero(~array.available[:, 0]).tolist() == [0, 4, 7]
    assert array.n_pulses.values.tolist() == [0, 1, 1, 1, 0, 1, 1, 0, 1, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        run.frames()
        assert run[1:].frames(missing="drop").sizes["train"] == 7


def test_images_that_were_never_written_count_as_missing(tmp_path):
    truth = written(tmp_path)
    with h5py.File(truth.path, "r+") as file:
        tag = file["run_300001/detector_2d_assembled_1/tag_166762150"]
        del tag["detector_data"]
        tag.create_dataset("detector_data", SHAPE, "f4")
    with pytest.warns(UserWarning, match="never written"):
        array = xf.open_run(truth.path).frames()
    assert np.flatnonzero(~array.available[:, 0]).tolist() == [5]
    assert np.isnan(array[5]).all()


def test_images_of_text_count_as_missing(tmp_path):
    truth = written(tmp_path)
    with h5py.File(truth.path, "r+") as file:
        tag = file["run_300001/detector_2d_assembled_1/tag_166762150"]
        del tag["detector_data"]
        tag["detector_data"] = np.full(SHAPE, b"x")
    with pytest.warns(UserWarning, match="no numbers"):
        assert not xf.open_run(truth.path).frames().available[5, 0]


def test_module_of_another_shape_is_an_error(tmp_path):
    truth = written(tmp_path, layout="modules", modules=(1, 2))
    with h5py.File(truth.path, "r+") as file:
        group = file["run_300001/detector_2d_2"]
        for tag in group:
            if tag.startswith("tag_"):
                del group[tag]["detector_data"]
                group[tag]["detector_data"] = np.zeros((4, 4), "f4")
    run = xf.open_run(truth.path)
    with pytest.raises(InconsistentDataError, match=r"different shapes.*\(4, 4\)"):
        run.frames()
    assert run.detector(modules=1).frames().shape[-2:] == SHAPE
    repr(run)


def test_a_run_without_images_opens(tmp_path):
    truth = written(tmp_path, n_images=0, n_events=5)
    run = xf.open_run(truth.path)
    assert run.train_ids == []
    assert run.scalars(["delay"]).sizes["train"] == 5
    with pytest.raises(InconsistentDataError, match="none of the images"):
        run.frames()


def test_a_run_without_detector(tmp_path):
    truth = written(tmp_path)
    with h5py.File(truth.path, "r+") as file:
        del file["run_300001/detector_2d_assembled_1"]
    run = xf.open_run(truth.path)
    assert run.detectors == {}
    assert run.scalars(["delay"]).sizes["train"] == 10
    with pytest.raises(xf.SourceNameError, match="no detector"):
        run.frames()


def test_both_kinds_of_images_are_two_detectors(tmp_path):
    assembled = written(tmp_path)
    modules = write_run(
        tmp_path / "modules.h5",
        layout="modules",
        modules=(1, 2),
        n_images=3,
        shape=SHAPE,
    )
    with h5py.File(assembled.path, "r+") as file, h5py.File(modules.path) as other:
        for k in (1, 2):
            other.copy(f"run_300001/detector_2d_{k}", file["run_300001"])
        single = "run_300001/detector_2d_9"
        other.copy("run_300001/detector_2d_2", file, single)
        del file[f"{single}/detector_info/detector_name"]
        file[f"{single}/detector_info/detector_name"] = b"MPCCD-1N0-M01-001"
    run = xf.open_run(assembled.path)
    assert run.detectors == {
        "MPCCD-8-2-002": "octal",
        "MPCCD-1N0-M01-001": "single",
        "MPCCD-8-2-002 assembled": "assembled",
    }
    with pytest.raises(xf.SourceNameError, match="several detectors"):
        run.frames()
    single = run.frames("MPCCD-1N0-M01-001")
    assert single.module.values.tolist() == [0]
    assert single.sizes["train"] == 3
    np.testing.assert_array_equal(run.frames("MPCCD-8-2-002"), modules.frames())
    np.testing.assert_array_equal(
        run.frames("detector_2d_assembled_1"), assembled.frames()
    )


def test_modules_stand_in_the_order_of_their_names(tmp_path):
    """Numbers of groups differ from run to run; the coordinate keeps them."""
    truth = written(tmp_path, layout="modules", modules=(1, 2, 3))
    with h5py.File(truth.path, "r+") as file:
        run = file["run_300001"]
        run.move("detector_2d_1", "detector_2d_5")
    found = xf.open_run(truth.path).frames()
    assert found.module.values.tolist() == [5, 2, 3]
    np.testing.assert_array_equal(found, truth.frames())


def test_unnamed_modules_are_one_detector(tmp_path):
    truth = written(tmp_path, layout="modules", modules=(1, 2))
    with h5py.File(truth.path, "r+") as file:
        for k in (1, 2):
            del file[f"run_300001/detector_2d_{k}/detector_info"]
    run = xf.open_run(truth.path)
    assert run.detectors == {"detector_2d": "image"}
    np.testing.assert_array_equal(run.frames(), truth.frames())
    assert "absolute_gain" not in run.frames().coords


# -- files that cannot be read --------------------------------------------------------


def test_cheetah_files_are_refused_with_advice(tmp_path):
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["tag-123456/data"] = np.zeros((16, 4), "u2")
        file["metadata/pixelmask"] = np.zeros((16, 4), "u2")
    with pytest.raises(UnknownFormatError, match=r"Cheetah.*DataConvert"):
        xf.open_run(path)


@pytest.mark.parametrize("fraction", [0.2, 0.9])
def test_truncated_file_is_one_clear_error(tmp_path, fraction):
    truth = written(tmp_path)
    faults.truncate(truth.path, fraction)
    with pytest.raises(UnknownFormatError, match="truncated file"):
        xf.open_run(truth.path)
    with pytest.raises(BrokenFileError, match="truncated file"):
        xf.open_run(truth.path, facility="sacla")


def test_text_file_is_an_error(tmp_path):
    path = tmp_path / "run.h5"
    faults.not_hdf5(path)
    with pytest.raises(UnknownFormatError):
        xf.open_run(path)
    with pytest.raises(BrokenFileError):
        xf.open_run(path, facility="sacla")


def test_file_without_run_is_an_error(tmp_path):
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(UnknownFormatError, match="no group run_"):
        xf.open_run(path, facility="sacla")
    with pytest.raises(UnknownFormatError, match="looked into"):
        xf.open_run(path)


def test_a_group_that_is_called_like_a_run_is_none(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["run_1/temperature"] = 1.0
    with pytest.raises(UnknownFormatError, match="looked into"):
        xf.open_run(path)


def test_damaged_image_is_an_error_that_names_the_tag(tmp_path):
    truth = written(tmp_path, compression="gzip")
    name = "run_300001/detector_2d_assembled_1/tag_166762150/detector_data"
    faults.damage_chunk(truth.path, name)
    array = xf.open_run(truth.path).frames(chunk_size="1B")
    with pytest.raises(BrokenFileError, match="train 166762150"):
        array.compute()
    assert np.isfinite(array[:5].compute()).all()


def test_file_that_is_cut_off_after_opening_is_an_error(tmp_path):
    truth = written(tmp_path, shape=(64, 64))
    array = xf.open_run(truth.path).frames()
    faults.truncate(truth.path, 0.5)
    with pytest.raises(BrokenFileError, match=r"truncated|cut off"):
        array.compute()


def test_file_that_vanishes_is_an_error(tmp_path):
    truth = written(tmp_path)
    array = xf.open_run(truth.path).frames()
    truth.path.unlink()
    with pytest.raises(BrokenFileError, match="cannot open"):
        array.compute()


def test_replaced_file_is_read_anew(tmp_path):
    """Remembered places of images belong to one state of a file."""
    truth = written(tmp_path)
    array = xf.open_run(truth.path).frames()
    array.compute()
    other = write_run(
        tmp_path / "other.h5", n_images=10, n_darks=0, shape=SHAPE, seed=5, laser=None
    )
    os.replace(other.path, truth.path)
    np.testing.assert_array_equal(array, other.frames())


def test_several_files_with_the_same_images_are_an_error(tmp_path):
    truth = written(tmp_path)
    other = write_run(tmp_path / "b.h5", n_images=2, shape=SHAPE)
    for source in (tmp_path, [truth.path, other.path]):
        with pytest.raises(InconsistentDataError, match=r"are in .*\.h5 and in .*\.h5"):
            xf.open_run(source)
    other.path.unlink()
    assert xf.open_run(tmp_path).train_ids == truth.tags.tolist()
    assert xf.open_run([str(truth.path)]).train_ids == truth.tags.tolist()
    assert xf.open_run(f"{tmp_path}/r*.h5").train_ids == truth.tags.tolist()
