import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError, OutputExistsError

pytestmark = pytest.mark.slow

RESULT, PANEL = "entry_1/result_1", "entry_1/data_2"
DETECTOR = "entry_1/instrument_1/detector_1"


@pytest.fixture
def found(frames):
    """The frames (7, 4, 3, 8, 5), of modules 0, 3 and 7, with bright pixels in some."""
    values = np.zeros(frames.shape, np.float32)
    values[1, 2, 1, 3:5, 2] = 50, 30
    values[4, 0, 2, 5, 1:3] = 20, 60
    values[4, 0, 0, 2, 1:3] = 40, 40
    bright = frames.fillna(0) * 0.1 + values
    bright = bright.drop_vars("bad_pixels")
    flat = np.zeros((8, 5))
    return bright, ops.find_peaks(
        bright, adc_threshold=15, minimum_snr=3, radius=flat, max_n_peaks=6
    )


def test_peaks_are_where_the_panel_is_bright(found, tmp_path):
    frames, peaks = found
    with h5py.File(xf.write_hits(frames, peaks, tmp_path / "a.cxi")) as file:
        n = file[f"{RESULT}/nPeaks"][()]
        assert n.shape == (28,)
        assert n[[6, 16]].tolist() == [1, 2]
        assert n.sum() == 3
        panel = file[f"{PANEL}/data"]
        assert panel.shape == (28, 8 * 8, 5)
        stored = file[f"{DETECTOR}/data"][()]
        np.testing.assert_array_equal(panel, stored.reshape(28, 64, 5))
        x, y = (file[f"{RESULT}/peak{a}PosRaw"] for a in "XY")
        assert x.shape == (28, 6)
        assert not x[0].any()
        for frame, k in ((6, 0), (16, 0), (16, 1)):
            row, column = round(float(y[frame, k])), round(float(x[frame, k]))
            assert panel[frame, row, column] > 15
        assert y[16, 1] == pytest.approx(7 * 8 + 5)
        total = file[f"{RESULT}/peakTotalIntensity"][6, 0]
        assert total == pytest.approx(80, abs=2)


def test_only_hits_are_written_with_their_ids(found, tmp_path):
    frames, peaks = found
    hits = ops.find_hits(peaks["n_peaks"], 1)
    path = xf.write_hits(frames, peaks, tmp_path / "b.cxi", is_hit=hits["is_hit"])
    with h5py.File(path) as file:
        assert file[f"{RESULT}/nPeaks"][()].tolist() == [1, 2]
        assert file["entry_1/trainId"][()].tolist() == [2**63 + 1, 2**63 + 4]
        assert file["entry_1/pulseId"][()].tolist() == [8, 0]
        assert file["entry_1/cellId"][()].tolist() == [2, 0]
        assert file[f"{DETECTOR}/data"].shape == (2, 8, 8, 5)
        wanted = frames.values[[1, 4], [2, 0]]
        np.testing.assert_array_equal(file[f"{DETECTOR}/data"][:, [0, 3, 7]], wanted)
    none = ops.find_hits(peaks["n_peaks"], 99)["is_hit"]
    with h5py.File(
        xf.write_hits(frames, peaks, tmp_path / "c.cxi", is_hit=none)
    ) as file:
        assert file[f"{RESULT}/peakXPosRaw"].shape == (0, 6)
        assert file[f"{PANEL}/data"].shape == (0, 64, 5)


def test_a_mask_is_shown_in_the_panel_too(found, frames, tmp_path):
    bright, peaks = found
    bad = bright.assign_coords(bad_pixels=frames["bad_pixels"])
    with h5py.File(xf.write_hits(bad, peaks, tmp_path / "d.cxi")) as file:
        mask = file[f"{DETECTOR}/mask"][()]
        np.testing.assert_array_equal(file[f"{PANEL}/mask"], mask.reshape(-1, 5))


def test_peaks_of_modules_that_are_not_there_are_refused(found, tmp_path):
    frames, peaks = found
    with pytest.raises(GeometryMismatchError, match="peaks are in modules 7"):
        xf.write_hits(frames.isel(module=[0, 1]), peaks, tmp_path / "a.cxi")


def test_bad_input_is_refused(found, tmp_path):
    frames, peaks = found
    path = tmp_path / "e.cxi"
    with pytest.raises(ArgumentError, match=r"\.cxi"):
        xf.write_hits(frames, peaks, tmp_path / "e.h5")
    with pytest.raises(ArgumentError, match="find_peaks"):
        xf.write_hits(frames, xr.Dataset(), path)
    with pytest.raises(GeometryMismatchError, match="train"):
        xf.write_hits(frames[:3], peaks, path)
    with pytest.raises(GeometryMismatchError, match="labels of train"):
        xf.write_hits(frames, peaks.assign_coords(train=np.arange(7)), path)
    with pytest.raises(ArgumentError, match="is_hit has dtype int64"):
        xf.write_hits(frames, peaks, path, is_hit=peaks["n_peaks"])
    with pytest.raises(TypeError, match=r"run\.detector"):
        xf.write_hits(frames, peaks, path, detector=np.zeros(3))
    assert not path.exists()
    path.write_text("")
    with pytest.raises(OutputExistsError):
        xf.write_hits(frames, peaks, path)


@pytest.fixture(scope="module")
def of_run(agipd_run):
    """The frames of a run on disk, its detector, and peaks in some frames."""
    detector = xf.open_run(agipd_run.directory).detector()
    frames = detector.frames(layout="frame").astype(np.float32)
    n = frames.sizes["frame"]
    count = np.zeros(n, int)
    count[[2, 5, 11]] = 1, 2, 1
    ids = frames.isel(module=0, slow_scan=0, fast_scan=0, drop=True).coords
    peaks = xr.Dataset({"n_peaks": ("frame", count)}, ids)
    rng = np.random.default_rng(3)
    there = np.arange(2) < count[:, None]
    for name in ("row", "col", "intensity", "max_intensity", "snr"):
        values = np.where(there, rng.uniform(1, 60, (n, 2)), np.nan)
        peaks[name] = (("frame", "peak"), values)
    peaks["module"] = (("frame", "peak"), np.where(there, 7, -1))
    peaks["n_pixels"] = (("frame", "peak"), there * 3)
    return frames, detector, peaks.drop_vars(["available"], errors="ignore")


@pytest.mark.parametrize("chosen", [False, True])
def test_images_of_a_run_are_shown_beside_their_peaks(of_run, tmp_path, chosen):
    frames, detector, peaks = of_run
    hits = ops.find_hits(peaks["n_peaks"], 1)["is_hit"] if chosen else None
    path = tmp_path / "v.cxi"
    xf.write_hits(frames, peaks, path, is_hit=hits, detector=detector)
    copied = xf.write_hits(frames, peaks, tmp_path / "c.cxi", is_hit=hits)
    with h5py.File(path) as file, h5py.File(copied) as other:
        assert file[f"{DETECTOR}/data"].is_virtual
        panel, wanted = (f[f"{PANEL}/data"] for f in (file, other))
        assert panel.is_virtual
        assert len(panel) == (3 if chosen else frames.sizes["frame"])
        there = np.isfinite(wanted[()])
        assert there.any()
        np.testing.assert_array_equal(panel[()][there], wanted[()][there])
        for name in ("trainId", "pulseId"):
            np.testing.assert_array_equal(
                file[f"{PANEL}/{name}"], other[f"entry_1/{name}"]
            )
        for name, values in other[RESULT].items():
            np.testing.assert_array_equal(file[f"{RESULT}/{name}"], values)


def test_a_detector_of_another_run_is_refused(of_run, tmp_path):
    frames, detector, peaks = of_run
    late = {"train": ("frame", frames.train.values + 1000)}
    path = tmp_path / "v.cxi"
    with pytest.raises(GeometryMismatchError, match="are not in the detector's files"):
        xf.write_hits(
            frames.assign_coords(late), peaks.assign_coords(late), path,
            detector=detector,
        )  # fmt: skip
    assert not path.exists()
