"""EXtra-data, an independent reader, must find the truth in simulated runs."""

import warnings

import numpy as np
import pytest

from xfelred.synth import euxfel

pytestmark = pytest.mark.slow

extra_data = pytest.importorskip("extra_data")
components = pytest.importorskip("extra_data.components")

# One small run of every kind, raw and corrected, and the variants of the layout.
RUNS = {
    "AGIPD1M corrected": {"modules": (0, 4, 15), "pulses": (0, 4, 8)},
    "AGIPD1M raw": {"corrected": False, "modules": (0, 9), "bad_pixels": 0.02},
    "AGIPD1M raw, no light": {"corrected": False, "modules": (2,), "scene": "noise"},
    "AGIPD1M constant": {"modules": (2,), "scene": "constant", "noise": 0.0},
    "AGIPD1M pumped": {"modules": (2, 3), "pump": 0.5, "n_trains": 14, "pulses": 1},
    "AGIPD500K corrected": {"kind": "AGIPD500K", "modules": (0, 7)},
    "AGIPD500K raw": {"kind": "AGIPD500K", "modules": (1, 3), "corrected": False},
    "LPD1M corrected": {"kind": "LPD1M", "modules": (1, 2), "bad_pixels": 0.1},
    "LPD1M raw": {"kind": "LPD1M", "modules": (0, 15), "corrected": False},
    "LPD1M parallel gain": {
        "kind": "LPD1M", "modules": (0, 2), "corrected": False, "parallel_gain": True,
    },
    "LPDSolo raw": {"kind": "LPDSolo", "corrected": False},
    "DSSC1M corrected": {"kind": "DSSC1M", "modules": (0, 3)},
    "DSSC1M raw": {"kind": "DSSC1M", "modules": (0, 3), "corrected": False},
    "JUNGFRAU corrected": {
        "kind": "JUNGFRAU", "modules": (1, 2), "n_trains": 2, "pulses": 2,
    },
    "JUNGFRAU raw": {
        "kind": "JUNGFRAU", "modules": (8,), "corrected": False, "n_trains": 2,
        "pulses": 1,
    },
    "JUNGFRAU named MODULE": {
        "kind": "JUNGFRAU", "modules": (2,), "n_trains": 2, "pulses": 1,
        "detector": "SPB_IRDA_JNGFR", "tail_rows": 1, "compression": "gzip",
        "source": "{detector}/DET/MODULE_{module}:daqOutput",
    },
    "ragged, padded": {
        "modules": (0, 3), "n_trains": 5, "tail_rows": 2, "padding": 8,
        "pulses": [[0, 2], [0, 2, 8], [], [8], [2, 8, 9, 11]],
        "cells": [[5, 6], [5, 6, 7], [], [1], [3, 4, 9, 20]],
    },
    "holes": {
        "modules": (0, 3), "n_trains": 4, "missing": {(0, 10001), (0, 10002)},
        "absent": {(3, 10002), (0, 10003)},
    },
    "broken at different trains": {
        "modules": (0, 3, 5), "n_trains": 7, "pulses": 2,
        "sequences": {0: 3, 3: [1, 5], 5: 7, "DA01": 2},
    },
    "legacy names": {"modules": (0, 3), "legacy_sources": True},
    "old corrected": {
        "modules": (0, 3), "source": "{detector}/DET/{module}CH0:xtdf",
    },
    "image only": {"modules": (0,), "image_only": True},
    "contiguous": {"modules": (0, 3), "layout": "contiguous", "tail_rows": 1},
    "gzip": {"modules": (0,), "compression": "gzip"},
    "shuffle+gzip": {"modules": (0,), "compression": "shuffle+gzip", "n_trains": 9},
    "shuffled data only": {
        "modules": (0,), "compression": {"data": "shuffle+gzip"}, "bad_pixels": 0.1,
    },
    "shuffled raw": {
        "modules": (0,), "corrected": False, "compression": "shuffle+gzip",
    },
    "callable scene": {"modules": (0,), "scene": lambda r: 1e3 * np.abs(r[..., 0])},
    "trains with gaps": {
        "modules": (0, 3), "train_ids": (9, 10005, 10007, 10**9), "suspect": (9,),
    },
}  # fmt: skip


def open_detector(truth, **options):
    run = extra_data.RunDirectory(str(truth.directory), **options)
    keywords = {"raw": not truth.config.corrected}
    if truth.config.parallel_gain:
        keywords["parallel_gain"] = True
    return run, getattr(components, truth.config.kind)(run, **keywords)


def dense(array):
    """Bring an array of EXtra-data to the order of axes of the data model."""
    lead = [d for d in ("train", "pulse", "cell", "gain") if d in array.dims]
    rest = [d for d in array.dims if d not in (*lead, "module")]
    if "data_gain" in rest:
        rest = ["data_gain", *[d for d in rest if d != "data_gain"]]
    return array.transpose(*lead, "module", *rest).values


@pytest.mark.parametrize("name", RUNS)
def test_pixels_masks_and_gains_are_the_truth(name, tmp_path):
    truth = euxfel.write_run(tmp_path, **RUNS[name])
    _, detector = open_detector(truth)
    assert detector.detector_name == truth.detector
    assert sorted(detector.modno_to_source) == list(truth.modules)
    assert detector.data.all_sources == {truth.source(m) for m in truth.modules}
    main = f"{truth.config.facts.group}.{truth.config.facts.main}"
    array = detector.get_array(main)
    got, want = dense(array), truth.frames()
    if got.dtype != want.dtype:  # ragged or missing integers become floats
        assert not truth.config.corrected
    np.testing.assert_array_equal(got, want)
    trains = sorted({t for t, _ in truth.frame_ids()})
    np.testing.assert_array_equal(array.train, trains)
    if not truth.config.corrected:
        return
    group = truth.config.facts.group
    for key, want in (("mask", truth.bad_pixels), ("gain", truth.gain_stage)):
        array = detector[f"{group}.{key}"].ndarray()
        there = detector.data_availability()
        for i, module in enumerate(truth.modules):
            got = array[i][there[i]]
            np.testing.assert_array_equal(got, np.broadcast_to(want[i], got.shape))
            assert there[i].any(), module


@pytest.mark.parametrize("version", ["0.5", "1.0", "1.1", "1.2", "1.3"])
@pytest.mark.parametrize("index", ["count", "last"])
def test_every_version_and_index_is_read(version, index, tmp_path):
    if index == "last" and version != "0.5":
        with pytest.raises(ValueError, match="belongs to version"):
            euxfel.RunConfig(format_version=version, index=index)
        return
    truth = euxfel.write_run(
        tmp_path,
        format_version=version,
        index=index,
        modules=(0, 3),
        n_trains=6,
        pulses=[[0, 1], [0], [], [0, 1, 2], [1], [0, 2]],
        missing={(3, 10000), (3, 10003), ("DA01", 10002)},
        suspect=() if version == "0.5" else (10004,),
        tail_rows=1,
        padding=10,
        sequences={3: 4},
    )
    with warnings.catch_warnings():
        # EXtra-data says that it does not know version 1.1 well.
        warnings.filterwarnings("ignore", "Train validation is not fully supported")
        run, detector = open_detector(truth)
        good, _ = open_detector(truth, inc_suspect_trains=False)
    np.testing.assert_array_equal(
        dense(detector.get_array("image.data")), truth.frames()
    )
    assert run.train_ids == truth.train_ids.tolist()
    left = set(truth.train_ids.tolist()) - set(truth.config.suspect)
    assert good.train_ids == sorted(left)
    metadata = run.run_metadata()
    assert metadata["dataFormatVersion"] == version
    if version != "0.5":
        assert metadata["proposalNumber"] == truth.config.proposal
        assert metadata["runNumber"] == truth.config.run


def test_labels_are_the_truth(ragged_run):
    _, detector = open_detector(ragged_run)
    key = detector["image.data"]
    ids = list(ragged_run.frame_ids())
    np.testing.assert_array_equal(key.train_id_coordinates(), [t for t, _ in ids])
    np.testing.assert_array_equal(key.pulse_id_coordinates(), [p for _, p in ids])
    cells = np.concatenate([ragged_run.cell_ids(t) for t in ragged_run.train_ids])
    np.testing.assert_array_equal(key.cell_id_coordinates(), cells)


def test_control_data_are_the_truth(tmp_path):
    truth = euxfel.write_run(
        tmp_path,
        modules=(0,),
        n_trains=5,
        pulses=[[0], [0, 1, 2], [], [0, 1], [4]],
        missing={("DA01", 10001)},
        absent={("DA01", 10003)},
    )
    run = extra_data.RunDirectory(str(tmp_path))
    seen = [10000, 10002, 10004]
    xgm = "SA1_XTD2_XGM/DOOCS/MAIN"
    pulses = run[f"{xgm}:output", "data.intensityTD"]
    assert pulses.units == "μJ"
    rows = pulses.xarray()
    np.testing.assert_array_equal(rows.trainId, seen)
    for train, row in zip(seen, rows.values, strict=True):
        energy = truth.intensity(train)
        np.testing.assert_allclose(row[: len(energy)], 1000 * energy, rtol=1e-6)
        np.testing.assert_array_equal(row[len(energy) :], 1)
    flux = run[xgm, "pulseEnergy.photonFlux"]
    assert flux.units == "μJ"
    np.testing.assert_allclose(flux.ndarray()[0], 1000 * truth.intensity(10000)[0])
    stage = run["SPB_LAS_PPL/MOTOR/DELAY", "actualPosition"]
    assert stage.units == "mm"
    delay = 2 * stage.ndarray() * 1e-3 / 299792458 * 1e12
    np.testing.assert_allclose(delay, truth.delay_ps[[0, 2, 4]], rtol=1e-12)
    shutter = run["SPB_LAS_PPL/MDL/SHUTTER", "isOpen"].ndarray()
    np.testing.assert_array_equal(shutter, truth.laser_on[[0, 2, 4]])
    assert run.get_run_value(xgm, "state") == "ON"
    assert run[xgm].device_class == "DoocsXGM"


def test_header_and_detector_groups_have_one_entry_per_train(tmp_path):
    truth = euxfel.write_run(
        tmp_path, modules=(3,), n_trains=3, pulses=2, missing={(3, 10001)}
    )
    run = extra_data.RunDirectory(str(tmp_path))
    source = run[truth.source(3)]
    assert source.keys() >= {"header.linkId", "trailer.status", "detector.data"}
    np.testing.assert_array_equal(source["header.pulseCount"].ndarray(), [2, 2])
    np.testing.assert_array_equal(source["header.trainId"].ndarray(), [10000, 10002])
    assert source["detector.data"].entry_shape == (5408,)


def test_legacy_names_lead_to_the_same_data(tmp_path):
    truth = euxfel.write_run(tmp_path, modules=(0, 3), legacy_sources=True)
    run = extra_data.RunDirectory(str(tmp_path))
    old = f"{truth.detector}/DET/3CH0:xtdf"
    assert run.legacy_sources[old] == truth.source(3)


def test_default_positions_are_those_of_extra_geom():
    extra_geom = pytest.importorskip("extra_geom")
    geometry = extra_geom.AGIPD_1MGeometry.from_quad_positions(
        euxfel.layout.AGIPD1M_QUADRANTS
    )
    ours = euxfel.pixel_positions(euxfel.KINDS["AGIPD1M"], 0.2)
    theirs = geometry.get_pixel_positions(centre=True)
    np.testing.assert_allclose(ours[..., :2], theirs[..., :2], atol=1e-12)
    np.testing.assert_array_equal(ours[..., 2], 0.2)
