import weakref

import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

from xfelred import __version__
from xfelred.products import write


def follow_default(file):
    """Find what to plot as a NeXus viewer does: only by the attributes."""
    group = file
    for nx_class in ("NXroot", "NXentry", "NXdata"):
        assert group.attrs["NX_class"] == nx_class
        if nx_class != "NXdata":
            group = group[group.attrs["default"]]
    return group


@pytest.fixture
def profile():
    """An azimuthal profile with everything a plot needs."""
    rng = np.random.default_rng(0)
    units = {"units": "1/angstrom", "long_name": "momentum transfer"}
    coords = {
        "train": ("train", np.arange(5) + 10**9),
        "q": ("q", np.linspace(0.1, 3, 12), units),
        "n_pulses": ("train", np.full(5, 3)),
        "q_width": ("q", np.full(12, 0.2)),
    }
    lazy = dask.array.from_array(rng.random((5, 12)), chunks=(2, 12))
    return xr.Dataset(
        {
            "intensity": (("train", "q"), lazy, {"units": "photon"}),
            "sigma": (("train", "q"), lazy / 10, {"units": "photon"}),
            "count": (("train", "q"), np.full((5, 12), 7)),
            "norm": ("q", np.ones(12)),
            "total": ((), 3.5),
            "mean": ("train", np.arange(5.0)),
            "sem": ("train", np.full(5, 0.1)),
            "x_mean": ("train", np.arange(5.0)),
            "x_sem": ("train", np.full(5, 0.1)),
        },
        coords=coords,
        attrs={"history": "frames {}\nintegrate_azimuthally {}"},
    )


@pytest.fixture
def file(profile, tmp_path):
    with h5py.File(write(profile, tmp_path / "a.nxs")) as opened:
        yield opened


def test_viewer_finds_signal_axes_and_errors(file, profile):
    data = follow_default(file)
    signal = data.attrs["signal"]
    assert signal == "intensity"
    np.testing.assert_array_equal(data[signal], profile.intensity)
    assert list(data.attrs["axes"]) == ["train", "q"]
    for axis, name in enumerate(data.attrs["axes"]):
        np.testing.assert_array_equal(data[name], profile[name])
        assert list(data.attrs[f"{name}_indices"]) == [axis]
    np.testing.assert_array_equal(data[f"{signal}_errors"], profile.sigma)
    assert list(data.attrs["auxiliary_signals"]) == ["sigma", "count"]


def test_coordinates_beside_the_axes_say_which_axes_they_are_on(file):
    data = follow_default(file)
    assert list(data.attrs["n_pulses_indices"]) == [0]
    assert list(data.attrs["q_width_indices"]) == [1]


def test_every_field_has_units_and_a_name(file, profile):
    data = follow_default(file)
    for name in profile.variables:
        assert data[name].attrs["units"]
        assert data[name].attrs["long_name"]
    assert data["q"].attrs["units"] == "1/angstrom"
    assert data["q"].attrs["long_name"] == "momentum transfer"
    assert data["count"].attrs["units"] == "1"


def test_standard_errors_have_the_names_that_viewers_look_for(file):
    data = follow_default(file)
    assert data["mean_errors"] == data["sem"]
    assert data["x_mean_errors"] == data["x_sem"]
    assert "count_errors" not in data


def test_variables_on_other_axes_can_be_plotted_too(file):
    groups = [g for g in file["entry"].values() if g.attrs.get("NX_class") == "NXdata"]
    plotted = {g.attrs["signal"]: list(g.attrs["axes"]) for g in groups}
    assert plotted == {"intensity": ["train", "q"], "norm": ["q"], "mean": ["train"]}
    assert file["entry/norm/q"] == file["entry/data/q"]


def test_process_tells_program_version_and_history(file, profile):
    process = file["entry/process"]
    assert process.attrs["NX_class"] == "NXprocess"
    assert process["program"].asstr()[()] == "xfelred"
    assert process["version"].asstr()[()] == __version__
    assert process["history"].asstr()[()] == profile.attrs["history"]


def test_axis_without_labels_is_a_point(frames, tmp_path):
    with h5py.File(write(frames, tmp_path / "a.h5")) as file:
        data = follow_default(file)
        assert list(data.attrs["axes"]) == ["train", "pulse", "module", ".", "."]
        assert list(data.attrs["bad_pixels_indices"]) == [2, 3, 4]
        assert list(data.attrs["available_indices"]) == [0, 2]


def test_only_text_has_no_plot(tmp_path):
    ds = xr.Dataset({"name": ("x", ["a", "b"])})
    with h5py.File(write(ds, tmp_path / "a.h5")) as file:
        assert "signal" not in file["entry/data"].attrs
        assert file["entry/data/name"].asstr()[()].tolist() == ["a", "b"]


def test_long_history_fits(tmp_path):
    long = "\n".join(f"step {{{n}}}" for n in range(20_000))
    ds = xr.Dataset({"a": ("x", np.zeros(3))}, attrs={"history": long})
    with h5py.File(write(ds, tmp_path / "a.h5")) as file:
        assert file["entry/process/history"].asstr()[()] == long
        assert file["entry/data"].attrs["history"] == long


def test_large_fields_are_cut_and_whole_numbers_compressed(tmp_path):
    image = dask.array.zeros((40, 64, 64), chunks=(10, 64, 64), dtype="float32")
    ds = xr.Dataset(
        {
            "image": (("frame", "y", "x"), image),
            "count": (("frame", "y", "x"), image.astype("int64")),
            "small": ("x", np.zeros(64)),
        }
    )
    with h5py.File(write(ds, tmp_path / "a.h5")) as file:
        data = file["entry/data"]
        assert data["image"].chunks == (10, 64, 64)
        assert data["image"].compression is None
        assert data["count"].compression == "gzip"
        assert data["count"].shuffle
        assert data["small"].chunks is None


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".nc", ".tif"])
def test_memory_is_a_few_blocks(tmp_path, suffix):
    alive, most = set(), []

    class Block(np.ndarray):
        pass

    def make(block_info=None):
        n = block_info[None]["chunk-location"][0]
        block = np.zeros((1, 16, 16)).view(Block)
        weakref.finalize(block, alive.discard, n)
        alive.add(n)
        most.append(len(alive))
        return block

    lazy = dask.array.map_blocks(
        make, chunks=((1,) * 64, (16,), (16,)), dtype=float, meta=np.zeros((0, 0, 0))
    )
    da = xr.DataArray(lazy, dims=("frame", "y", "x"), name="image")
    with dask.config.set(scheduler="threads", num_workers=2):
        write(da, tmp_path / f"a{suffix}")
    assert len(most) == 64
    assert max(most) <= 6


def test_silx_shows_the_same_plot(file, profile):
    """The viewer of the ESRF as an independent reader."""
    nxdata = pytest.importorskip("silx.io.nxdata")
    found = nxdata.get_default(file)
    assert found.is_valid
    assert found.signal_name == "intensity"
    np.testing.assert_array_equal(found.signal, profile.intensity)
    np.testing.assert_array_equal(found.errors, profile.sigma)
    assert [axis.name.split("/")[-1] for axis in found.axes] == ["train", "q"]
    assert found.auxiliary_signals_names == ["sigma", "count"]
    for group in file["entry"].values():
        if group.attrs.get("NX_class") == "NXdata":
            assert nxdata.NXdata(group).is_valid, nxdata.NXdata(group).issues


def test_silx_shows_frames_with_axes_without_labels(frames, tmp_path):
    nxdata = pytest.importorskip("silx.io.nxdata")
    with h5py.File(write(frames, tmp_path / "a.h5")) as file:
        found = nxdata.get_default(file)
        assert found.is_valid
        assert found.axes_names[-2:] == [None, None]
