"""Bad input: each kind gives one clear error of a fixed class that says what is wrong.

Runs are simulated and then damaged with `xfelred.synth.faults`. `refused` checks the
class and that the message names what was asked for and what was found.
"""

import contextlib
import os
import re

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred import errors
from xfelred.synth import faults
from xfelred.synth.euxfel import write_run

SMALL = {"modules": (0, 3), "n_trains": 4, "pulses": (0, 8), "compression": "gzip"}
DETECTOR = "SPB_DET_AGIPD1M-1"
PIXELS = "image/data"


@contextlib.contextmanager
def refused(kind, *words):
    """The block raises an error of ours of this kind, with all words in its message."""
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert not isinstance(error, AssertionError)
    fixed = (errors.XfelredError, FileNotFoundError, ValueError, OverflowError)
    assert isinstance(error, fixed)
    for word in words:
        assert re.search(re.escape(str(word)), str(error)), f"{word!r} not in {error}"


@pytest.fixture
def truth(tmp_path):
    return write_run(tmp_path / "run", **SMALL)


@pytest.fixture
def run(agipd_run):
    return xf.open_run(agipd_run.directory)


OPENERS = {
    "open_run": lambda path: xf.open_run(path),
    "RunDirectory": lambda path: xf.RunDirectory(str(path)),
}


@pytest.fixture(params=OPENERS)
def opener(request):
    return OPENERS[request.param]


# Paths and files.


def test_no_such_path(opener, tmp_path):
    with refused(FileNotFoundError, "nothing_here"):
        opener(tmp_path / "nothing_here")


def test_no_such_file():
    with refused(FileNotFoundError, "nothing_here.h5"):
        xf.H5File("nothing_here.h5")


def test_empty_directory(opener, tmp_path):
    with refused((FileNotFoundError, errors.UnknownFormatError), tmp_path.name):
        opener(tmp_path)


def test_no_file_that_matches(truth):
    with refused(FileNotFoundError, "*AGIPD77*"):
        xf.RunDirectory(str(truth.directory), include="*AGIPD77*")


def test_a_file_of_no_known_format(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("nothing to see")
    with refused(errors.UnknownFormatError, "notes.txt", "euxfel"):
        xf.open_run(path)


def test_an_unknown_facility(truth):
    with refused(ValueError, "desy", "euxfel"):
        xf.open_run(truth.directory, facility="desy")


UNREADABLE = {
    "truncated": faults.truncate,
    "not HDF5": faults.not_hdf5,
    "without INDEX": faults.remove_index,
    "without sources": lambda p: faults.remove_dataset(p, "METADATA/dataSources"),
    "empty": lambda p: faults.truncate(p, 0),
}


@pytest.mark.parametrize("damage", UNREADABLE)
def test_a_run_of_unreadable_files_only(damage, opener, tmp_path):
    truth = write_run(tmp_path, modules=(0,), n_trains=1, xgm=False, motors=False)
    UNREADABLE[damage](truth.file(0))
    with refused(errors.XfelredError, tmp_path.name):
        opener(tmp_path)


@pytest.mark.parametrize("damage", UNREADABLE)
def test_an_unreadable_file_beside_good_ones(damage, opener, truth):
    UNREADABLE[damage](truth.file(3))
    with pytest.warns(UserWarning, match=truth.file(3).name) as told:
        run = opener(truth.directory)
    assert len(told) == 1
    assert [f.file for f in run.left_out] == [str(truth.file(3))]
    assert truth.source(0) in run.all_sources
    assert truth.source(3) not in run.all_sources
    frames = run.frames()
    assert frames.module.values.tolist() == [0]
    np.testing.assert_array_equal(frames[0, 0, 0].values, truth.frame(10000, 0, 0))


@pytest.mark.parametrize("damage", ["truncated", "not HDF5"])
def test_an_unreadable_single_file(damage, truth):
    UNREADABLE[damage](truth.file(3))
    with refused(errors.XfelredError, truth.file(3).name):
        xf.H5File(str(truth.file(3)))


# What a file says about itself.


@pytest.mark.parametrize("extra", [1, 1000, 2**62])
@pytest.mark.parametrize("version", ["0.5", "1.2"])
def test_index_that_points_outside_its_dataset(extra, version, tmp_path):
    truth = write_run(tmp_path, format_version=version, **SMALL)
    faults.index_beyond_data(truth.file(3), extra=extra)
    with refused(errors.XfelredError, truth.file(3).name):
        xf.open_run(tmp_path).frames().compute()


def test_other_trains_are_read_in_spite_of_an_index_that_points_outside(truth):
    faults.index_beyond_data(truth.file(3), position=-1)
    run = xf.open_run(truth.directory).select_trains(np.s_[:2])
    got = run.frames().sel(train=10001, pulse=8, module=3).values
    np.testing.assert_array_equal(got, truth.frame(10001, 8, 3))


def test_a_source_without_its_index(truth):
    faults.remove_source_index(truth.file(3))
    with refused(errors.XfelredError, truth.source(3)):
        xf.open_run(truth.directory).frames()


def test_modules_with_different_frame_counts(truth):
    faults.mismatch_counts(truth.file(3), position=1)
    run = xf.open_run(truth.directory)
    with refused(ValueError, 10001):
        run.frames()
    with refused(ValueError, 10001):
        xf.AGIPD1M(run)


def test_flags_of_trains_that_are_no_numbers(truth):
    with h5py.File(truth.file(3), "r+") as file:
        flags = np.zeros(len(file["INDEX/flag"]), "f4, i2")
        del file["INDEX/flag"]
        file["INDEX/flag"] = flags
    with pytest.warns(UserWarning, match="INDEX/flag"):
        run = xf.open_run(truth.directory)
    assert [os.path.basename(f.file) for f in run.left_out] == [truth.file(3).name]


@pytest.mark.parametrize("layout", ["train", "frame"])
def test_inconsistent_pulse_ids(layout, truth):
    faults.mismatch_pulse_ids(truth.file(3), entry=2)
    run = xf.open_run(truth.directory)
    with refused(ValueError, "pulse", 10001):
        run.frames(layout=layout)
    with refused(ValueError, "pulse"):
        xf.AGIPD1M(run).get_array("image.data")
    # The other trains are sound.
    run.select_trains(xf.by_id[10002:]).frames(layout=layout)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2,), (0,)])
def test_pulse_ids_that_are_not_one_number_for_a_frame(shape, truth):
    module = truth.modules[0]
    name = f"INSTRUMENT/{truth.source(module)}/image/pulseId"
    with h5py.File(truth.file(module), "r+") as file:
        shape = (len(file[name]), *shape)
        del file[name]
        file.create_dataset(
            name, shape, "i4", chunks=True, maxshape=(None,) * len(shape)
        )
    with refused(
        errors.InconsistentDataError, "image.pulseId", "holds no", "modules=["
    ):
        xf.open_run(truth.directory).frames()


def test_inconsistent_cell_ids(truth):
    faults.mismatch_cell_ids(truth.file(3), entry=2)
    detector = xf.AGIPD1M(xf.open_run(truth.directory))
    with refused(ValueError, "cell"):
        detector.get_array("image.data", subtrain_index="cellId")


@pytest.mark.parametrize(
    "damage", [faults.duplicate_file, lambda p: faults.duplicate_train(p, 1)]
)
def test_duplicated_trains(damage, opener, truth):
    damage(truth.file(3))
    with refused(ValueError, 10000, truth.source(3)):
        opener(truth.directory)


def test_leaving_out_suspect_trains_cures_a_duplicate(tmp_path):
    truth = write_run(tmp_path, suspect=(10001,), **SMALL)
    faults.duplicate_train(truth.file(3), 1)
    with refused(ValueError, 10000):
        xf.open_run(tmp_path)
    run = xf.open_run(tmp_path, inc_suspect_trains=False)
    frame = run.frames().sel(train=10000, pulse=0, module=3).values
    np.testing.assert_array_equal(frame, truth.frame(10000, 0, 3))


# Names.


def test_unknown_source(run):
    with refused(KeyError, "SPB/NO/SUCH"):
        run["SPB/NO/SUCH"]
    with refused(errors.SourceNameError, "SA1_XTD2_XGM/DOOCS/MAINE", "Did you mean"):
        run["SA1_XTD2_XGM/DOOCS/MAINE", "pulseEnergy.photonFlux"]
    with refused(ValueError, "*NOPE*"):
        run.select("*NOPE*")


def test_unknown_key(run, agipd_run):
    xgm = "SA1_XTD2_XGM/DOOCS/MAIN"
    with refused(errors.PropertyNameError, "pulseEnergy.photonFlux2", xgm):
        run[xgm, "pulseEnergy.photonFlux2"]
    with refused(errors.PropertyNameError, "image.nope"):
        run.frames(key="image.nope")
    with refused(errors.PropertyNameError, "image.nope"):
        xf.AGIPD1M(run).get_array("image.nope")


def test_unknown_detector(run):
    with refused(errors.SourceNameError, "JF4M", DETECTOR):
        run.frames("JF4M")
    with refused(KeyError, "LPD"):
        xf.LPD1M(run)
    with refused(KeyError, "SPB_DET_AGIPD1M-2"):
        xf.AGIPD1M(run, detector_name="SPB_DET_AGIPD1M-2")


def test_unknown_modules(run):
    with refused((KeyError, errors.SelectionEmptyError), 9):
        run.frames(modules=[9])
    with refused(KeyError, 9):
        xf.AGIPD1M(run, modules={9})


def test_unknown_trains(run):
    with refused(errors.TrainIDError, 42):
        run.train_from_id(42)
    with pytest.raises(IndexError):
        run.select_trains([99])
    with pytest.raises(ValueError, match="5"):
        run.select_trains(np.array([True, False]))


def test_no_detector_at_all(tmp_path):
    write_run(tmp_path, modules=(), n_trains=2)
    with refused(errors.SourceNameError, "detector"):
        xf.open_run(tmp_path).frames()


@pytest.fixture
def two_detectors(tmp_path):
    """Two AGIPDs and a JUNGFRAU in one run."""
    first = write_run(tmp_path, modules=(0,), n_trains=2, pulses=1)
    for i, options in enumerate(
        (
            {"kind": "AGIPD500K", "modules": (1,)},
            {"kind": "JUNGFRAU", "modules": (2,)},
            {"detector": "MID_DET_AGIPD1M-1", "modules": (3,)},
        )
    ):
        other = write_run(tmp_path / str(i), n_trains=2, pulses=1, xgm=False,
                          motors=False, **options)  # fmt: skip
        path = other.file(options["modules"][0])
        os.replace(path, tmp_path / path.name)
    return first


def test_several_detectors_and_no_name(two_detectors):
    run = xf.open_run(two_detectors.directory)
    names = (DETECTOR, "MID_DET_AGIPD1M-1", "HED_DET_AGIPD500K2G", "SPB_IRDA_JF4M")
    assert set(run.detectors) == set(names)
    with refused(ValueError, *names):
        run.frames()
    with refused(ValueError, *names[:2]):
        xf.AGIPD1M(run)
    with refused(ValueError, *names):
        xf.identify_multimod_detectors(run, single=True)
    got = run.frames("MID_DET_AGIPD1M-1")
    assert got.module.values.tolist() == [3]


# Selections and options.


NO_PULSES = {
    "an empty list": lambda: [],
    "an unknown ID": lambda: xf.by_id[[1000]],
    "positions beyond the end": lambda: np.s_[50:],
    "an empty slice": lambda: np.s_[2:2],
    "an empty range of IDs": lambda: xf.by_id[1:1],
}


@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize("pulses", NO_PULSES)
def test_no_pulse_left(pulses, layout, run):
    with contextlib.suppress(errors.SelectionEmptyError):
        frames = run.frames(pulses=NO_PULSES[pulses](), layout=layout)
        assert frames.size == 0
        assert frames.compute().size == 0


def test_no_train_left(run):
    with pytest.warns(UserWarning, match="1"):
        nothing = run.select_trains(xf.by_id[1:5])
    assert list(nothing.train_ids) == []
    with contextlib.suppress(errors.SelectionEmptyError, errors.NoDataError):
        assert nothing.frames().compute().size == 0


def test_no_pixel_left(run):
    with contextlib.suppress(errors.SelectionEmptyError):
        assert run.frames(roi=np.s_[600:, :]).compute().size == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 70000, 0.5, "x", 1e300])
def test_fill_value_that_does_not_fit(value, agipd_raw_run):
    run = xf.open_run(agipd_raw_run.directory)
    with refused((ValueError, OverflowError), value):
        run.frames(fill_value=value, raw=True)


@pytest.mark.parametrize("value", [np.nan, -1, 70000, "x"])
def test_fill_value_that_does_not_fit_a_drop_in_name(value, agipd_raw_run):
    detector = xf.AGIPD1M(xf.open_run(agipd_raw_run.directory), raw=True)
    with pytest.raises((ValueError, OverflowError)):
        detector.get_array("image.data", fill_value=value)


def test_fill_value_that_does_not_fit_the_dtype_asked_for(run):
    with refused((ValueError, OverflowError), 300):
        run.frames(astype="u1", fill_value=300, bad_pixels=None)
    with refused(ValueError, "nan"):
        run.frames(astype="i4", fill_value=np.nan, bad_pixels=None)
    assert run.frames(astype="f8", fill_value=300).dtype == np.float64


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "wrong"}, ["wrong", "frame"]),
        ({"bad_pixels": "wrong"}, ["wrong", "apply"]),
        ({"missing": "wrong"}, ["wrong", "drop"]),
        ({"pulses": np.s_[::-1]}, ["-1"]),
        ({"pulses": np.s_["a":"b"]}, ["a"]),
        ({"pulses": [True, False]}, []),
        ({"pulses": np.s_[-3:]}, ["-3"]),
        ({"pulses": [-1]}, ["-1"]),
        ({"min_modules": 0}, ["min_modules", "0"]),
        ({"min_modules": 5}, ["5"]),
        ({"parallel_gain": True}, ["parallel_gain"]),
        ({"roi": np.s_[0, 0, 0, 0]}, ["roi"]),
        ({"chunk_size": "-1MiB"}, ["chunk_size"]),
    ],
)
def test_options_that_make_no_sense(options, words, run):
    with pytest.raises((ValueError, TypeError, IndexError, NotImplementedError)) as got:
        run.frames(**options)
    for word in words:
        assert word in str(got.value)


def test_an_unknown_option_is_named(run):
    with pytest.raises(TypeError, match="colour"):
        run.frames(colour="red")


def test_missing_data_can_be_refused(ragged_run):
    run = xf.open_run(ragged_run.directory)
    with refused(ValueError, 10001, 3):
        run.frames(missing="raise")


def test_parallel_gain_that_is_none(tmp_path):
    write_run(tmp_path, kind="LPD1M", modules=(0,), n_trains=2, pulses=4)
    run = xf.open_run(tmp_path)
    with refused(ValueError, 10000, "parallel_gain", "three"):
        run.frames(parallel_gain=True)
    with refused(ValueError):
        xf.LPD1M(run, parallel_gain=True)


# Failures while computing are errors, never fill values.


def test_a_chunk_that_cannot_be_decompressed(truth):
    faults.damage_chunk(truth.file(3), f"INSTRUMENT/{truth.source(3)}/{PIXELS}", 5)
    frames = xf.open_run(truth.directory).frames()
    with refused(OSError, truth.file(3).name):
        frames.compute()
    with pytest.raises(OSError, match=truth.file(3).name):
        frames.mean("train").compute()
    np.testing.assert_array_equal(
        frames.sel(train=10002, pulse=0, module=3).values, truth.frame(10002, 0, 3)
    )


def test_a_damaged_mask(truth):
    name = f"INSTRUMENT/{truth.source(3)}/image/mask"
    faults.damage_chunk(truth.file(3), name, 5)
    run = xf.open_run(truth.directory)
    with refused(OSError, truth.file(3).name):
        run.frames(bad_pixels="apply").compute()
    assert not np.isnan(run.frames(bad_pixels=None).compute()).any()


@pytest.mark.parametrize("layout", ["chunked", "contiguous"])
def test_a_file_cut_off_after_opening(layout, tmp_path):
    options = SMALL | {"compression": None, "layout": layout}
    truth = write_run(tmp_path, **options)
    frames = xf.open_run(tmp_path).frames(bad_pixels=None)
    faults.truncate(truth.file(3), 0.2)
    with refused(OSError, truth.file(3).name):
        frames.compute()


def test_a_file_removed_after_opening(truth):
    frames = xf.open_run(truth.directory).frames()
    truth.file(3).unlink()
    with refused(OSError, truth.file(3).name):
        frames.compute()


def test_a_failure_is_not_hidden_by_the_drop_in_names(truth):
    faults.damage_chunk(truth.file(3), f"INSTRUMENT/{truth.source(3)}/{PIXELS}", 5)
    run = xf.RunDirectory(str(truth.directory))
    detector = xf.AGIPD1M(run)
    with refused(OSError, truth.file(3).name):
        detector.get_array("image.data")
    with refused(OSError, truth.file(3).name):
        run[truth.source(3), "image.data"].ndarray()
