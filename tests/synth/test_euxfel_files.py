"""Files of simulated runs, looked at with h5py and arithmetic."""

import pickle

import h5py
import numpy as np
import pytest

from xfelred.synth.euxfel import KINDS, RunConfig, pixel_positions, write_run
from xfelred.synth.euxfel.pixels import JUNK_ADU

MODULE = 3


def follow_index(path, source, key):
    """Return {train ID: entries}, one train at a time, from the index alone."""
    group = key.split("/")[0]
    found = {}
    with h5py.File(path) as h5:
        index = h5[f"INDEX/{source}/{group}"]
        for i, train in enumerate(h5["INDEX/trainId"][:].tolist()):
            if train == 0:
                continue
            first = int(index["first"][i])
            if "count" in index:
                count = int(index["count"][i])
            else:
                count = (int(index["last"][i]) - first + 1) * int(index["status"][i])
            found[train] = h5[f"INSTRUMENT/{source}/{key}"][first : first + count]
    return found


@pytest.mark.parametrize("index", ["count", "last"])
@pytest.mark.parametrize("layout", ["chunked", "contiguous"])
def test_gaps_between_trains_and_trains_in_wrong_order(index, layout, tmp_path):
    truth = write_run(
        tmp_path,
        modules=(MODULE,),
        train_ids=(10005, 10007, 9, 10008, 10009),
        pulses=[[1, 4], [1], [0, 2, 9], [], [3]],
        missing={(MODULE, 10007)},
        format_version="0.5",
        gap_rows=2,
        tail_rows=3,
        padding=8,
        index=index,
        layout=layout,
    )
    source, path = truth.source(MODULE), truth.file(MODULE)
    data = follow_index(path, source, "image/data")
    pulses = follow_index(path, source, "image/pulseId")
    assert list(data) == [10005, 10007, 9, 10008, 10009]
    assert [len(d) for d in data.values()] == [2, 0, 3, 0, 1]
    for train, frames in data.items():
        ids = truth.pulse_ids(train)[: len(frames)].tolist()
        assert pulses[train].tolist() == ids
        for pulse, frame in zip(ids, frames, strict=True):
            want = truth.frame(train, pulse, MODULE)
            np.testing.assert_array_equal(frame, want)
    with h5py.File(path) as h5:
        stored = h5[f"INSTRUMENT/{source}/image/data"]
        assert len(stored) == 6 + 5 * 2 + 3
        assert (stored[[0, 1, -1]] == JUNK_ADU).all()


def test_layout_is_that_of_the_facility(tmp_path):
    truth = write_run(tmp_path, modules=(MODULE,), n_trains=2, pulses=2)
    source = truth.source(MODULE)
    assert source == "SPB_DET_AGIPD1M-1/CORR/3CH0:output"
    assert truth.file(MODULE).name == "CORR-R0001-AGIPD03-S00000.h5"
    assert truth.file("DA01").name == "RAW-R0001-DA01-S00000.h5"
    with h5py.File(truth.file(MODULE)) as h5:
        image = h5[f"INSTRUMENT/{source}/image"]
        assert {name: (d.dtype.str, d.shape) for name, d in image.items()} == {
            "data": ("<f4", (4, 512, 128)),
            "gain": ("|u1", (4, 512, 128)),
            "mask": ("<u4", (4, 512, 128)),
            "cellId": ("<u2", (4,)),
            "pulseId": ("<u8", (4,)),
            "trainId": ("<u8", (4,)),
            "length": ("<u4", (4, 1)),
            "status": ("<u2", (4, 1)),
        }
        for name, filters in (("data", None), ("gain", "gzip"), ("mask", "gzip")):
            assert image[name].chunks == (1, 512, 128)
            assert image[name].compression == filters
        assert set(h5[f"INDEX/{source}"]) == {"detector", "header", "image", "trailer"}
        entries = h5["METADATA/dataSources/dataSourceId"].asstr()[:].tolist()
        assert f"INSTRUMENT/{source}/image" in entries


def test_raw_labels_have_an_axis_of_length_one(lpd_parallel_run):
    truth = lpd_parallel_run
    with h5py.File(truth.file(0)) as h5:
        image = h5[f"INSTRUMENT/{truth.source(0)}/image"]
        assert image["data"].shape == (18, 1, 256, 256)
        assert image["pulseId"].shape == image["trainId"].shape == (18, 1)
        # Only the first third of each train carries true IDs.
        np.testing.assert_array_equal(image["pulseId"][:2, 0], [0, 8])
        assert (image["pulseId"][2:6] > 2700).all()
        stage = image["data"][0:6, 0, 0, 0] >> 12
        np.testing.assert_array_equal(stage, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("version", "flag", "origin"),
    [
        ("0.5", None, None),
        ("1.0", [1, 0, 1, 0], None),
        ("1.1", [0, 1, 0, 0], None),
        ("1.2", [1, 0, 1, 0], [-1, 0, -1, 0]),
        ("1.3", [1, 0, 1, 0], [-1, 0, -1, 0]),
    ],
)
def test_index_of_every_version(version, flag, origin, tmp_path):
    truth = write_run(
        tmp_path,
        modules=(0,),
        n_trains=3,
        pulses=1,
        suspect=(10001,),
        padding=4,
        format_version=version,
    )
    with h5py.File(truth.file(0)) as h5:
        index = h5["INDEX"]
        assert index["trainId"][:].tolist() == [10000, 10001, 10002, 0]
        assert (index["flag"][:].tolist() if flag else index.get("flag")) == flag
        found = index["origin"][:].tolist() if origin else index.get("origin")
        assert found == origin
        assert ("timestamp" in index) == (version != "0.5")
        assert ("dataFormatVersion" in h5["METADATA"]) == (version != "0.5")
        assert ("dataSources" in h5["METADATA"]) == (version != "0.5")
        status = f"{truth.source(0)}/image/status" in index
        assert status == (version == "0.5")


def test_same_seed_same_bytes_other_seed_other_pixels(tmp_path):
    runs = [
        write_run(tmp_path / name, modules=(0,), n_trains=1, pulses=2, seed=seed)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    a, b, c = (r.file(0).read_bytes() for r in runs)
    assert a == b != c
    frames = [r.frame(10000, 1, 0) for r in runs]
    assert (frames[0] == frames[1]).all()
    assert (frames[0] != frames[2]).any()


def test_rings_stand_at_their_q(agipd_run):
    """A plain average over rings of pixels finds peaks where the truth says."""
    truth = agipd_run
    frame = np.stack([truth.light(10000, 0, m) for m in truth.modules])
    frame = frame / truth.intensity(10000)[0]
    x, y, z = np.moveaxis(truth.positions, -1, 0)
    theta = np.arctan(np.hypot(x, y) / z) / 2
    wavelength = 12.398419843320026 / (truth.config.energy_ev / 1e3)
    q = 4 * np.pi * np.sin(theta) / wavelength
    # Undo the solid angle of a pixel on a flat detector; leave out hot pixels.
    corrected = np.where(truth.bad_pixels == 0, frame / np.cos(2 * theta) ** 3, np.nan)
    good = np.isfinite(corrected)
    np.testing.assert_allclose(corrected[good], truth.profile(q)[good], rtol=1e-5)
    for centre in truth.config.q_rings:
        near = good & (abs(q - centre) < 0.09)
        peak = q[near][np.argmax(corrected[near])]
        assert abs(peak - centre) < 0.01


def test_noise_has_its_standard_deviation_and_no_memory(tmp_path):
    truth = write_run(
        tmp_path,
        modules=(0,),
        n_trains=8,
        pulses=8,
        scene="noise",
        noise=2.5,
        xgm=False,
        motors=False,
    )
    frames = truth.frames().reshape(64, -1)
    assert abs(frames.std() - 2.5) < 0.01
    assert abs(frames.mean()) < 0.01
    # 64 frames: the standard deviation of a pixel scatters by 2.5 / sqrt(128).
    spread = frames.std(axis=0)
    assert abs(spread.mean() - 2.5) < 0.05
    assert spread.min() > 1
    link = np.corrcoef(frames)
    assert abs(link[np.triu_indices(64, 1)]).max() < 0.03
    assert truth.files["DA01"] == []


def test_pump_changes_only_lit_trains_after_time_zero(tmp_path):
    truth = write_run(tmp_path, modules=(0,), n_trains=14, pulses=1, pump=0.5)
    dark = truth.light(10000, 0, 0) / truth.intensity(10000)[0]
    for i, train in enumerate(truth.train_ids.tolist()):
        light = truth.light(train, 0, 0) / truth.intensity(train)[0]
        lit = bool(truth.laser_on[i]) and truth.delay_ps[i] > 0
        assert (abs(light - dark).max() > 1) == lit
    assert truth.laser_on.tolist() == [False, True] * 7


def test_raw_pixels_switch_gain_where_they_are_bright(tmp_path):
    truth = write_run(
        tmp_path,
        modules=(0,),
        n_trains=1,
        pulses=1,
        corrected=False,
        amplitude=1e4,
        noise=0.5,
        jitter=0.0,
    )
    signal, gain = truth.frame(10000, 0, 0)
    stage = truth.gain_stage[0]
    assert set(np.unique(stage)) == {0, 1}
    np.testing.assert_array_equal(gain, np.array([5000, 7000])[stage])
    factor = np.array([1, 0.1])[stage]
    back = (signal - truth.pedestal[0]) / factor
    assert back.max() > 1e3
    energy = truth.intensity(10000)[0]
    np.testing.assert_allclose(back * factor, truth.light(10000, 0, 0), atol=4)
    assert energy == 1


@pytest.mark.parametrize("kind", KINDS)
def test_positions_fit_the_detector_and_do_not_overlap(kind):
    facts = KINDS[kind]
    positions = pixel_positions(facts, 0.3)
    assert positions.shape == (facts.n_modules, *facts.module_shape, 3)
    assert (positions[..., 2] == 0.3).all()
    pixels = np.floor(positions[..., :2] / facts.pixel_size + 1e-6).astype(int)
    pixels = pixels.reshape(-1, 2) - pixels.min(axis=(0, 1, 2))
    taken = np.zeros(pixels.max(axis=0) + 1, bool)
    taken[tuple(pixels.T)] = True
    assert taken.sum() == len(pixels)


def test_positions_can_be_given(tmp_path):
    positions = pixel_positions(KINDS["AGIPD1M"], 0.2) * 2
    truth = write_run(tmp_path, modules=(3,), n_trains=1, pulses=1, positions=positions)
    np.testing.assert_array_equal(truth.positions, positions[[3]])
    with pytest.raises(ValueError, match="positions of shape"):
        write_run(tmp_path / "other", positions=positions[:3])


def test_truth_can_be_pickled_and_has_a_short_repr(agipd_run):
    again = pickle.loads(pickle.dumps(agipd_run))
    np.testing.assert_array_equal(
        again.frame(10001, 4, 3), agipd_run.frame(10001, 4, 3)
    )
    assert len(repr(agipd_run)) < 3000


def test_asking_for_a_frame_that_was_not_recorded_is_an_error(ragged_run):
    for train, pulse, module in [
        (10000, 1, 0),
        (99999, 0, 0),
        (10001, 0, 3),
        (10003, 2, 3),
        (10002, 0, 0),
        (10000, 0, 7),
    ]:
        with pytest.raises(KeyError):
            ragged_run.frame(train, pulse, module)
    assert ragged_run.recorded(10004, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "EIGER"}, "choose one of AGIPD1M"),
        ({"format_version": "2.0"}, "known: 0.5, 1.0"),
        ({"modules": (3, 16)}, "AGIPD1M has only"),
        ({"train_ids": (1, 1)}, "must be different"),
        ({"train_ids": (0, 1)}, "must be different and not 0"),
        ({"missing": {(0, 77)}}, "not in the run: .77"),
        ({"pulses": [[1], [2]]}, "the run has 4"),
        ({"pulses": 3, "cells": 2}, "as many cells as pulses"),
        ({"parallel_gain": True}, "a mode of the LPD"),
        ({"kind": "JUNGFRAU", "pulses": [[1], [1], [1], [1, 2]]}, "same cells"),
        ({"compression": "lzma"}, "compression='lzma'"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**options)


def test_runs_are_not_mixed_in_a_directory(tmp_path):
    write_run(tmp_path, modules=(0,), n_trains=1, pulses=1)
    with pytest.raises(FileExistsError, match="write the run elsewhere"):
        write_run(tmp_path)
    with pytest.raises(TypeError, match="n_train"):
        write_run(tmp_path / "new", n_train=3)


def test_faults_are_called_with_the_truth(tmp_path):
    seen = []
    options = {"modules": (0,), "n_trains": 1, "pulses": 1}
    truth = write_run(tmp_path, faults=[seen.append], **options)
    assert seen == [truth]
