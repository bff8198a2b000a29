"""Simulated SACLA runs: the layout of the facility, and physics with known truth."""

import h5py
import numpy as np
import pytest

from xfelred.synth.sacla import RunConfig, write_run
from xfelred.synth.sacla.shots import draw_shots, peak_angles


def read(truth, name):
    with h5py.File(truth.path) as file:
        return file[f"run_{truth.config.run}/{name}"][()]


def test_layout_of_an_assembled_run(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", n_images=4, n_events=7, n_darks=2, shape=(9, 8)
    )
    with h5py.File(truth.path) as file:
        assert file["file_info/format_type"][()] == b"run_data_format"
        assert file["file_info/run_number_list"][()].tolist() == [300001]
        run = file["run_300001"]
        assert set(run) == {
            "detector_2d_assembled_1",
            "event_info",
            "exp_info",
            "run_info",
        }
        detector = run["detector_2d_assembled_1"]
        tags = [f"tag_{t}" for t in truth.tags]
        assert set(detector) == {"detector_info", *tags}
        assert set(detector[tags[0]]) == {"detector_data", "detector_status"}
        image = detector[tags[3]]["detector_data"]
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image[()], truth.image(truth.tags[3]))
        table = run["event_info/tag_number_list"]
        assert table.dtype == np.uint32
        np.testing.assert_array_equal(table[()], truth.event_tags)
        assert run["run_info/end_tag_number"][()] == truth.event_tags[-1] + 2


def test_layout_of_an_octal_run(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", layout="modules", n_images=2, n_darks=0, shape=(8, 4),
        dtype="int16", compression="gzip",
    )  # fmt: skip
    with h5py.File(truth.path) as file:
        run = file["run_300001"]
        assert sum(name.startswith("detector_2d_") for name in run) == 8
        info = run["detector_2d_3/detector_info"]
        assert info["detector_name"][()] == b"MPCCD-8-2-002-3"
        assert info["detector_coordinate_in_micro_meter"][0] == 817
        image = run[f"detector_2d_3/tag_{truth.tags[1]}/detector_data"]
        assert image.compression == "gzip"
        np.testing.assert_array_equal(image[()], truth.image(truth.tags[1], 3))


def test_equal_seeds_make_equal_runs(tmp_path):
    options = {"n_images": 3, "n_darks": 1, "shape": (16, 16)}
    one = write_run(tmp_path / "a.h5", **options)
    two = write_run(tmp_path / "b.h5", **options)
    other = write_run(tmp_path / "c.h5", seed=1, **options)
    np.testing.assert_array_equal(one.frames(), two.frames())
    assert (one.frames() != other.frames()).any()
    assert one.path.read_bytes() == two.path.read_bytes()


def test_faults_are_as_asked_for(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", n_images=8, shape=(8, 8), without_image={1},
        without_event={2}, without_data={3}, odd_shape={4}, bad_status={5},
        energies={6: np.nan}, duplicates={7},
    )  # fmt: skip
    group = "detector_2d_assembled_1"
    with h5py.File(truth.path) as file:
        detector = file[f"run_300001/{group}"]
        tags = [f"tag_{t}" for t in truth.config.tags]
        assert tags[1] not in detector
        assert "detector_data" not in detector[tags[3]]
        assert detector[tags[4]]["detector_data"].shape == (4, 8)
        status = [
            int(detector[t]["detector_status"][()]) for t in tags if t in detector
        ]
    assert status == [1, 1, 1, 1, 0, 1, 1]
    listed = read(truth, "event_info/tag_number_list").tolist()
    assert truth.config.tags[2] not in listed
    assert listed.count(truth.config.tags[7]) == 2
    energy = read(truth, "event_info/bl_3/oh_2/photon_energy_in_eV")
    assert np.flatnonzero(np.isnan(energy)).tolist() == [5]  # row 2 is not there
    for tag in truth.config.tags[[1, 3, 4]]:
        with pytest.raises(KeyError):
            truth.image(tag)
    assert len(truth.tags) == 7


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "complex64"},
        {"compression": "lzma"},
        {"modules": (0, 9)},
        {"tag_step": 0},
        {"first_tag": 2**32},
        {"missing": {(99, 1)}},
        {"q_ring": 7.0},
    ],
)
def test_what_cannot_be_is_an_error(options):
    with pytest.raises(ValueError, match="="):
        RunConfig(**options)


def test_nothing_is_overwritten(tmp_path):
    truth = write_run(tmp_path / "a.h5", n_images=1, shape=(4, 4))
    with pytest.raises(FileExistsError):
        write_run(truth.path)
    with pytest.raises(ValueError, match="already exists"):
        write_run(truth.path, append=True, shape=(4, 4))
    write_run(truth.path, append=True, run=2, n_images=1, shape=(4, 4))
    with h5py.File(truth.path) as file:
        assert file["file_info/run_number_list"][()].tolist() == [300001, 2]


def test_peaks_of_gold_are_where_the_ewald_sphere_puts_them():
    """Literature values for {111} at 2.67 1/angstrom and 1.44 angstrom."""
    found = np.rad2deg(peak_angles(RunConfig()))
    np.testing.assert_allclose(found, [74.66, 118.10], atol=0.01)


@pytest.mark.parametrize("centre", [(40.2, 33.7), (25.0, 20.5)])
def test_the_ring_is_where_it_should_be(tmp_path, centre):
    truth = write_run(
        tmp_path / "a.h5", n_images=3, n_darks=0, shape=(72, 80), centre=centre,
        noise=0.0, shot_noise=0.0, background=0.0, n_crystals=0, ring_width=0.06,
    )  # fmt: skip
    image = truth.image(truth.tags[0])
    row, column = np.indices(image.shape)
    radius = np.hypot(column - truth.centre[0], row - truth.centre[1])
    assert truth.centre == centre
    mean = (image * radius).sum() / image.sum()
    np.testing.assert_allclose(mean, truth.radius, atol=0.3)
    assert image.max() <= truth.config.intensity * truth.intensity[0] * 1.0001


@pytest.mark.parametrize("layout", ["assembled", "modules"])
def test_shots_hold_pairs_of_spots(layout):
    """The autocorrelation of the ring minus its mean peaks at the true angles."""
    config = RunConfig(layout=layout, n_images=80, n_darks=0)
    n = 720
    from_spots = np.zeros(n)
    phi, delta = draw(config)
    for first, step in zip(phi, delta, strict=True):
        hits = np.concatenate([first, first + step]) % (2 * np.pi)
        ring = np.bincount((hits * n / (2 * np.pi)).astype(int) % n, minlength=n)
        spectrum = np.abs(np.fft.rfft(ring - ring.mean())) ** 2
        from_spots += np.fft.irfft(spectrum, n)
    width = np.exp(-0.5 * (np.arange(-6, 7) / 2) ** 2)
    smooth = np.convolve(from_spots[20:360], width, "same")
    peaks = []
    for _ in range(2):
        at = int(smooth.argmax())
        peaks.append((at + 20) * 360 / n)
        smooth[max(0, at - 15) : at + 16] = -np.inf
    np.testing.assert_allclose(sorted(peaks), [74.66, 118.10], atol=1)


def draw(config):
    shots = draw_shots(config)
    return shots.phi, shots.delta


def test_intensity_jitters_and_darks_are_dark(tmp_path):
    truth = write_run(tmp_path / "a.h5", n_images=40, n_darks=10, shape=(48, 48))
    means = truth.frames().mean(axis=(1, 2, 3, 4))
    assert np.abs(means[:10]).max() < 0.2
    np.testing.assert_allclose(
        means[10:] / truth.intensity[10:], np.mean(means[10:] / truth.intensity[10:]),
        rtol=0.05,
    )  # fmt: skip
    assert 0.15 < truth.intensity[10:].std() < 0.5
