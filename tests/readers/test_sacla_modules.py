"""Modules of a SACLA detector that differ, and selections of them."""

import warnings

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.hdf5.handles import Handle
from xfelred.synth import faults
from xfelred.synth.sacla import write_run

SHAPE = (8, 6)
FIRST = 166762140


def written(tmp_path, **options):
    return write_run(
        tmp_path / "run.h5", **{"n_images": 6, "n_darks": 2, "shape": SHAPE, **options}
    )


def replace_images(truth, module, make, shots=None):
    """Replace images of a module by what `make` makes of them."""
    name = f"detector_2d_{module}" if module else "detector_2d_assembled_1"
    with h5py.File(truth.path, "r+") as file:
        group = file[f"run_300001/{name}"]
        tags = sorted(n for n in group if n.startswith("tag_"))
        for tag in tags if shots is None else [tags[i] for i in shots]:
            old = group[tag]["detector_data"][()]
            del group[tag]["detector_data"]
            group[tag]["detector_data"] = make(old)


@pytest.mark.parametrize("first", [[1], [2], [2, 1], None])
def test_the_first_selection_does_not_decide_the_dtype(tmp_path, first):
    truth = written(tmp_path, layout="modules", modules=(1, 2), dtype="int16")
    replace_images(truth, 2, lambda old: (old + 0.5).astype("f4"))
    run = xf.open_run(truth.path)
    run.frames(modules=first).compute()
    one, two, both = run.frames(modules=1), run.frames(modules=2), run.frames()
    assert (one.dtype, two.dtype, both.dtype) == ("int16", "float32", "float32")
    expected = truth.frames()
    np.testing.assert_array_equal(one, expected[:, :, :1])
    np.testing.assert_array_equal(two, expected[:, :, 1:] + np.float32(0.5))
    np.testing.assert_array_equal(both[:, :, :1], expected[:, :, :1])
    np.testing.assert_array_equal(both[:, :, 1:], two)


@pytest.mark.parametrize("first", [1, 2])
def test_the_first_selection_does_not_decide_the_shape(tmp_path, first):
    truth = written(tmp_path, layout="modules", modules=(1, 2))
    replace_images(truth, 2, lambda old: np.ones((4, 4), "f4"))
    run = xf.open_run(truth.path)
    run.frames(modules=first)
    for module, shape in ((1, SHAPE), (2, (4, 4))):
        found = run.frames(modules=module)
        assert found.shape[-2:] == shape
        assert found.available.all()
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("dtype", "other"),
    [("uint16", "f4"), ("uint16", "i2"), ("int16", "u2"), ("int16", "i4")],
)
def test_images_that_a_cast_would_wrap_count_as_missing(tmp_path, dtype, other):
    truth = written(tmp_path, n_images=20, dtype=dtype)
    value = 60000 if other in ("u2", "i4") else -5
    replace_images(truth, 0, lambda old: np.full(SHAPE, value, other), (3, 7))
    run = xf.open_run(truth.path)
    with pytest.warns(UserWarning, match=r"2 images .*another dtype") as said:
        array = run.frames()
    assert len(said) == 1
    assert array.attrs["stored_dtype"] == dtype
    assert np.flatnonzero(~array.available[:, 0]).tolist() == [3, 7]
    assert np.isnan(array[[3, 7]]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = run.frames(missing="drop")
    assert whole.sizes["train"] == 18
    assert whole.dtype == dtype


def test_smaller_numbers_are_read(tmp_path):
    truth = written(tmp_path, n_images=20, dtype="int16")
    replace_images(truth, 0, lambda old: np.full(SHAPE, 200, "u1"), (3,))
    array = xf.open_run(truth.path).frames()
    assert array.available.all()
    assert (array[3] == 200).all()


@pytest.mark.parametrize("modules", [[1], [3], [3, 1]])
def test_selections_of_modules_have_the_same_axes(tmp_path, modules):
    """Shot 4 has no image of module 3, shot 5 none of module 1."""
    truth = written(
        tmp_path, layout="modules", modules=(1, 3), missing=((4, 3), (5, 1))
    )
    run = xf.open_run(truth.path)
    detector = run.detector(modules=modules)
    xr.testing.assert_identical(detector.frames(), run.frames(modules=modules))
    assert detector.train_ids == truth.tags.tolist()
    later = detector.select_trains(np.s_[3:])
    xr.testing.assert_identical(later.frames(), run[3:].frames(modules=modules))
    pieces = [d.frames() for d in detector.split_trains(parts=2)]
    assert sum(p.sizes["train"] for p in pieces) == 6


# -- gains ----------------------------------------------------------------------------


@pytest.mark.parametrize("modules", [[1], [3], [4, 3]])
def test_selecting_commutes_with_matching_gains(tmp_path, modules):
    truth = written(tmp_path, layout="modules", modules=(1, 3, 4))
    run = xf.open_run(truth.path)
    whole = run.frames()
    wanted = ops.match_gains(whole).sel(module=sorted(modules))
    for part in (
        whole.sel(module=sorted(modules)),
        run.frames(modules=modules),
        run.detector(modules=modules).frames(layout="train"),
    ):
        np.testing.assert_array_equal(ops.match_gains(part), wanted)
    relative = run.constants().relative_gain.sel(module=sorted(modules))
    np.testing.assert_array_equal(
        run.detector(modules=modules).constants().relative_gain, relative
    )


@pytest.mark.parametrize("lost", [1, 3])
def test_a_module_without_gain_spoils_no_other(tmp_path, lost):
    truth = written(tmp_path, layout="modules", modules=(1, 3, 4))
    with h5py.File(truth.path, "r+") as file:
        file[f"run_300001/detector_2d_{lost}/detector_info/absolute_gain"][...] = np.nan
    run = xf.open_run(truth.path)
    first = 17.2 if lost == 3 else 16.8
    frames, constants = run.frames(), run.constants()
    assert float(frames.reference_gain) == pytest.approx(first)
    assert float(constants.reference_gain) == pytest.approx(first)
    for found in (ops.match_gains(frames), ops.adu_to_photons(frames)):
        bad = np.isnan(found).all(("train", "pulse", "slow_scan", "fast_scan"))
        assert bad.values.tolist() == [m == lost for m in (1, 3, 4)]
        assert np.isfinite(found.where(found.module != lost, 0)).all()
    gains = np.array([17.2, 16.8, 17.1])
    good = constants.module != lost
    np.testing.assert_allclose(
        constants.relative_gain[good], gains[good] / first, rtol=1e-6
    )


@pytest.mark.parametrize("layout", ["train", "frame"])
def test_missing_modules_are_no_photons(tmp_path, layout):
    """Missing integers are 0 in the frames: no measurement of nothing."""
    truth = written(
        tmp_path, layout="modules", modules=(1, 3), dtype="uint16", missing=((4, 3),)
    )
    frames = xf.open_run(truth.path).frames(layout=layout)
    for found in (ops.adu_to_photons(frames), ops.match_gains(frames)):
        missing = np.isnan(found).all(("slow_scan", "fast_scan"))
        np.testing.assert_array_equal(missing.squeeze(), ~frames.available)
        assert np.isfinite(found.where(frames.available, 0)).all()


# -- names of tags --------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_zeros_in_front_of_tags(tmp_path, compression):
    truth = written(tmp_path, layout="modules", modules=(1, 3), compression=compression)
    with h5py.File(truth.path, "r+") as file:
        for k in (1, 3):
            group = file[f"run_300001/detector_2d_{k}"]
            for shot in (0, 3):
                group.move(f"tag_{FIRST + 2 * shot}", f"tag_00{FIRST + 2 * shot}")
    run = xf.open_run(truth.path)
    assert run.train_ids == truth.tags.tolist()
    np.testing.assert_array_equal(run.frames(), truth.frames())
    np.testing.assert_array_equal(
        run.frames(roi=np.s_[1:3])[::-1], truth.frames()[::-1, ..., 1:3, :]
    )
    name = "detector_2d_3/temperature"
    assert np.isfinite(run.scalars([name])[name]).all()
    assert "temperature" in run.keys("MPCCD-8-2-002")
    assert run["MPCCD-8-2-002", "detector_data"].shape[0] == 6


def test_a_tag_that_stands_there_twice_is_an_error(tmp_path):
    truth = written(tmp_path)
    with h5py.File(truth.path, "r+") as file:
        group = file["run_300001/detector_2d_assembled_1"]
        group.copy(f"tag_{FIRST}", f"tag_0{FIRST}")
    with pytest.raises(xf.errors.InconsistentDataError, match=f"tag {FIRST} more than"):
        xf.open_run(truth.path)


def test_groups_that_name_no_tag_are_reported_once(tmp_path):
    truth = written(tmp_path, layout="modules", modules=(1, 3))
    with h5py.File(truth.path, "r+") as file:
        for k in (1, 3):
            file.create_group(f"run_300001/detector_2d_{k}/tag_12b")
            file.create_group(f"run_300001/detector_2d_{k}/tagging")
        file.create_group(f"run_300001/detector_2d_3/tag_{10**30}")
    with pytest.warns(UserWarning, match=r"3 groups .*detector_2d_1/tag_12b") as said:
        run = xf.open_run(truth.path)
    assert len(said) == 1
    np.testing.assert_array_equal(run.frames(), truth.frames())


# -- files that change ----------------------------------------------------------------


def test_file_that_is_cut_off_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    """It changes at each look, and at the last one it is cut off."""
    truth = written(tmp_path, shape=(64, 64))
    array = xf.open_run(truth.path).frames()
    looks = []

    def unchanged(handle):
        looks.append(handle)
        if len(looks) == 2:
            faults.truncate(truth.path, 0.5)
        return False

    monkeypatch.setattr(Handle, "unchanged", unchanged)
    with pytest.raises(xf.BrokenFileError, match=r"truncated|cut off"):
        array.compute()
    assert len(looks) == 2


def test_file_that_only_grows_while_it_is_read_is_fine(tmp_path, monkeypatch):
    truth = written(tmp_path)
    array = xf.open_run(truth.path).frames()
    monkeypatch.setattr(Handle, "unchanged", lambda handle: False)
    np.testing.assert_array_equal(array, truth.frames())
