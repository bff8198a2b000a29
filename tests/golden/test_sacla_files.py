"""Golden SACLA files: images, shots, positions and profiles made by other programs."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred import geometry, ops

HERE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "sacla"
if not HERE.is_dir():
    pytest.skip("no golden files beside the checkout", allow_module_level=True)

ASSEMBLED = HERE / "run178884_assembled.h5"
MODULES = HERE / "run206178_modules.h5"


def image(path, run, group, tag):
    with h5py.File(path) as file:
        return file[f"run_{run}/{group}/tag_{tag}/detector_data"][()]


def test_assembled_run():
    run = xf.open_run(ASSEMBLED)
    assert run.run_id == "run_178884"
    assert run.tag_step == 2
    assert len(run.train_ids) == 60
    frames = run.frames()
    assert frames.shape == (60, 1, 1, 128, 128)
    for tag in frames.train.values[[0, 11, 59]]:
        expected = image(ASSEMBLED, 178884, "detector_2d_assembled_1", tag)
        np.testing.assert_array_equal(frames.sel(train=tag).squeeze(), expected)
    assert run.darks.values.nonzero()[0].tolist() == list(range(10))
    assert int(run.pumped.sum()) == 25
    table = run.scalars(["bl_3/oh_2/photon_energy_in_eV"])
    assert table.sizes["train"] == 150
    joined = table["bl_3/oh_2/photon_energy_in_eV"].sel(train=frames.train)
    np.testing.assert_array_equal(frames.photon_energy, joined)


def test_polar_stack_starts_from_these_images():
    """The tutorial's stack of raw polar images holds the tags in our order."""
    stored = np.load(HERE / "tutorial_end_to_end.npz")
    run = xf.open_run(ASSEMBLED)
    assert [run.train_ids[0], run.train_ids[-1]] == stored["first_last_tag"].tolist()
    radii = stored["radii"]
    _, _, radius = stored["center_truth"]
    on_ring = np.abs(radii - radius) < 3
    polar = stored["polar_raw"][:, on_ring].mean(axis=(1, 2))
    frames = run.frames().squeeze()
    x, y, _ = stored["center_truth"]
    row, column = np.indices((128, 128))
    r = np.hypot(column - x, row - y)
    mask = np.abs(r - radius) < 3
    means = frames.values[:, mask].mean(axis=1)
    assert np.corrcoef(means, polar)[0, 1] > 0.99


def test_module_run():
    run = xf.open_run(MODULES)
    frames = run.frames()
    assert frames.shape == (24, 1, 8, 128, 64)
    assert frames.module.values.tolist() == list(range(1, 9))
    tag = int(frames.train[7])
    for k in (1, 4, 8):
        expected = image(MODULES, 206178, f"detector_2d_{k}", tag)
        np.testing.assert_array_equal(
            frames.sel(train=tag, module=k).squeeze(), expected
        )
    assert run.detectors == {"MPCCD-8-2-002": "octal"}
    gains = np.load(HERE / "run206178_azint.npz")["gain_relative"]
    np.testing.assert_allclose(run.constants().relative_gain, gains, rtol=1e-6)


def test_positions_of_the_modules():
    stored = np.load(HERE / "run206178_positions.npz")
    found = geometry.Geometry.sacla(xf.open_run(MODULES), distance=0.053)
    # The stored positions are float32: their last digit is 4e-3 micrometre.
    np.testing.assert_allclose(found.x * 1e6, stored["x_um"], rtol=0, atol=4e-3)
    np.testing.assert_allclose(found.y * 1e6, stored["y_um"], rtol=0, atol=4e-3)


def test_same_pixels_as_the_crystfel_file():
    run = xf.open_run(MODULES)
    found = geometry.Geometry.sacla(run, distance=0.053, first_pixel="corner")
    other = geometry.Geometry.from_crystfel(HERE / "run206178.geom")
    other = other.with_shape(found.shape)
    # Corners are written with six digits of a pixel, vectors with eight.
    np.testing.assert_allclose(found.x, other.x, rtol=0, atol=2e-9)
    np.testing.assert_allclose(found.y, other.y, rtol=0, atol=2e-9)


def test_profiles():
    stored = np.load(HERE / "run206178_azint.npz")
    run = xf.open_run(MODULES)
    frames = run.frames()
    dark = frames.sel(train=run.darks).mean("train")
    located = geometry.locate(
        frames - dark, geometry.Geometry.sacla(run, distance=0.053)
    )
    found = ops.integrate_azimuthally(located, stored["q_edges"]).squeeze()
    # One pixel lies within 1e-7 of the edge between two bins; rounding decides.
    q = located.q.values.ravel()
    near = np.abs(q[:, None] - stored["q_edges"]) < 1e-7 * stored["q_edges"]
    edges = np.flatnonzero(near.any(axis=0))
    sure = ~np.isin(np.arange(len(stored["q_edges"]) - 1), [edges - 1, edges])
    assert sure.sum() >= 58
    scale = np.abs(stored["profiles"]).max()
    np.testing.assert_allclose(
        found["intensity"].values[:, sure], stored["profiles"][:, sure],
        rtol=1e-4, atol=1e-6 * scale,
    )  # fmt: skip
    np.testing.assert_allclose(
        found["intensity"].values, stored["profiles"], rtol=2e-3, atol=2e-4 * scale
    )
