import dask.array
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from xfelred import plot
from xfelred.errors import MissingConstantError
from xfelred.geometry import Geometry
from xfelred.names import PIXEL_DIMS
from xfelred.ops.image.assemble import assemble


@pytest.fixture(autouse=True)
def _no_windows():
    mpl.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    values = rng.gamma(2, 10, (60, 80)).astype("float32")
    values[28:32] = np.nan
    y = np.arange(60) * 2e-4 - 6e-3
    x = np.arange(80) * 2e-4 - 8e-3
    return xr.DataArray(
        dask.array.from_array(values, chunks=(30, 80)),
        dims=("y", "x"),
        coords={"y": ("y", y, {"units": "m"}), "x": ("x", x, {"units": "m"})},
        name="mean",
        attrs={"units": "adu", "long_name": "mean intensity"},
    )


@pytest.fixture
def profiles():
    q = np.linspace(0.2, 3, 50)
    curve = 10 * np.exp(-(((q - 1.3) / 0.1) ** 2)) + 2
    return xr.Dataset(
        {
            "intensity": (
                ("pulse", "q"),
                curve * np.array([[1.0], [1.2], [0.8]]),
                {"units": "adu", "long_name": "intensity averaged over the bin"},
            ),
            "sigma": (("pulse", "q"), np.full((3, 50), 0.5)),
        },
        coords={"pulse": [0, 4, 8], "q": ("q", q, {"units": "1/angstrom"})},
    )


@pytest.fixture
def pulses():
    return xr.Dataset(
        {
            "mean": ("pulse", [3.0, 4.0, 5.0], {"units": "adu"}),
            "std": ("pulse", [1.0, 1.0, 2.0]),
            "sem": ("pulse", [0.1, 0.1, 0.2]),
        },
        coords={"pulse": [0, 4, 8]},
    )


@pytest.fixture
def available():
    there = np.ones((20, 16), bool)
    there[5:9, 3] = False
    there[:, 12] = False
    return xr.DataArray(
        there,
        dims=("train", "module"),
        coords={"train": np.arange(20) + 10**9, "module": np.arange(16)},
        name="available",
    )


def test_image_shows_the_pixels_in_millimetres(picture):
    ax = plot.image(picture)
    (drawn,) = ax.images
    np.testing.assert_array_equal(drawn.get_array().mask, np.isnan(picture.values))
    np.testing.assert_allclose(drawn.get_extent(), (-8.1, 7.9, -6.1, 5.9))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (mm)", "y (mm)")
    assert ax.child_axes[0].get_ylabel() == "mean intensity (adu)"


def test_few_hot_pixels_do_not_stretch_the_colours(picture):
    values = picture.compute()
    values[0, 0] = 1e9
    low, high = plot.image(values).images[0].get_clim()
    np.testing.assert_allclose((low, high), np.nanpercentile(values, (0.5, 99.5)))
    assert plot.image(values, limits=(0, 7)).images[0].get_clim() == (0, 7)


def test_image_of_detector_pixels_has_no_millimetres():
    da = xr.DataArray(np.ones((4, 6)), dims=("slow_scan", "fast_scan"))
    ax = plot.image(da, log=True, title="module 3")
    assert ax.images[0].get_extent() == [-0.5, 5.5, -0.5, 3.5]
    assert ax.get_ylabel() == "slow scan"
    assert ax.get_title("left") == "module 3"


def test_axis_that_runs_down_is_drawn_so(picture):
    flipped = picture.isel(x=slice(None, None, -1))
    left, right, *_ = plot.image(flipped).images[0].get_extent()
    assert left == pytest.approx(7.9)
    assert right == pytest.approx(-8.1)


@pytest.mark.parametrize(
    ("detector", "to_the_left", "downwards"),
    [("AGIPD1M", True, False), (None, False, True)],
)
def test_assembled_image_is_seen_as_its_geometry_says(detector, to_the_left, downwards):
    corners = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
    if detector:
        panels = Geometry.from_quad_positions(detector, corners, distance=1)
    else:
        panels = Geometry.flat((6, 8), centre=(3, 4), distance=1, pixel_size=1e-4)
    modules = xr.DataArray(np.ones(panels.shape), dims=PIXEL_DIMS)
    ax = plot.image(assemble(modules, panels))
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    assert bool(left > right) is to_the_left
    assert bool(bottom > top) is downwards


def test_image_without_a_good_pixel_can_be_drawn(picture):
    ax = plot.image(picture * np.nan)
    ax.figure.canvas.draw()


def test_image_of_modules_says_what_to_do():
    da = xr.DataArray(np.ones((2, 4, 6)), dims=("module", "slow_scan", "fast_scan"))
    with pytest.raises(ValueError, match=r"shows 2 dims.*'module': 2.*assemble"):
        plot.image(da)


def test_azimuthal_draws_one_line_and_band_for_each_pulse(profiles):
    ax = plot.azimuthal(profiles)
    assert len(ax.lines) == len(ax.collections) == 3
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), profiles.intensity[1])
    assert ax.get_xlabel() == "q (Å⁻¹)"
    assert ax.get_ylabel() == "intensity (adu)"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "pulse 0", "pulse 4", "pulse 8",
    ]  # fmt: skip


def test_azimuthal_draws_on_the_axes_it_is_given(profiles):
    ax = plot.azimuthal(profiles.isel(pulse=0), label="dark")
    again = plot.azimuthal(profiles[["intensity"]].isel(pulse=1), ax, log=True)
    assert again is ax
    assert len(ax.lines) == 2
    assert ax.get_yscale() == "log"


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_azimuthal_labels_lines_by_what_tells_them_apart(profiles):
    one_train = profiles.assign_coords(cell=7, train=10_000)
    assert legend_of(plot.azimuthal(one_train)) == ["pulse 0", "pulse 4", "pulse 8"]
    bare = one_train.drop_vars("pulse").rename(pulse="run")
    assert legend_of(plot.azimuthal(bare)) == ["run 0", "run 1", "run 2"]
    named = legend_of(plot.azimuthal(one_train, label="dark"))
    assert named == ["dark, pulse 0", "dark, pulse 4", "dark, pulse 8"]


def test_azimuthal_labels_frames_by_train_and_pulse_and_sectors_with_their_unit(
    profiles,
):
    frames = profiles.drop_vars("pulse").rename(pulse="frame")
    frames = frames.assign_coords(
        train=("frame", [5, 5, 6]), pulse=("frame", [0, 4, 0]), module=3
    )
    labels = legend_of(plot.azimuthal(frames))
    assert labels == ["train 5, pulse 0", "train 5, pulse 4", "train 6, pulse 0"]
    sectors = profiles.rename(pulse="phi")
    sectors["phi"] = ("phi", [-2.0943951, 0.0, 2.0943951], {"units": "rad"})
    labels = legend_of(plot.azimuthal(sectors.assign_coords(train=1)))
    assert labels == ["phi -2.0944 rad", "phi 0 rad", "phi 2.0944 rad"]


def test_azimuthal_of_many_frames_says_what_to_do(profiles):
    with pytest.raises(ValueError, match="select or average frames first"):
        plot.azimuthal(profiles.expand_dims(train=4))


def test_statistics_draws_mean_error_and_spread(pulses):
    ax = plot.statistics(pulses)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), pulses["mean"])
    assert ax.get_title("left") == "mean of each pulse"
    assert ax.get_ylabel() == "mean (adu)"
    plot.statistics(pulses[["mean"]], ax)
    with pytest.raises(ValueError, match="reduce the other axes too"):
        plot.statistics(pulses.expand_dims(module=4))


def test_availability_shows_gaps(available):
    ax = plot.availability(available)
    np.testing.assert_array_equal(ax.images[0].get_array(), available.values.T)
    assert ax.get_title("left") == "92.5 % recorded"
    assert "1000000000" in ax.get_xlabel()


def test_module_that_is_nowhere_is_a_gap_too(available):
    ax = plot.availability(available.drop_sel(module=[12]))
    np.testing.assert_array_equal(ax.images[0].get_array(), available.values.T)


def test_availability_is_found_on_frames(available):
    frames = xr.DataArray(
        np.zeros((20, 16, 2)),
        dims=("train", "module", "slow_scan"),
        coords={"available": available},
    )
    np.testing.assert_array_equal(
        plot.availability(frames).images[0].get_array(), available.values.T
    )
    with pytest.raises(MissingConstantError, match="no coordinate 'available'"):
        plot.availability(frames.drop_vars("available"))


def test_overview_has_four_plots(picture, profiles, pulses, available, tmp_path):
    figure = plot.overview(
        picture, profiles.isel(pulse=0), pulses, available, title="r0001"
    )
    figure.savefig(tmp_path / "overview.png")
    titles = [ax.get_title("left") for ax in figure.axes]
    assert len([title for title in titles if title]) == 4
    assert figure.get_suptitle() == "r0001"


@pytest.fixture
def rings():
    phi = np.linspace(-np.pi, np.pi, 36, endpoint=False)
    values = np.random.default_rng(0).random((4, 36)).astype("f4")
    values[1, 3:6] = np.nan
    return xr.DataArray(
        dask.array.from_array(values, chunks=(4, 36)),
        {
            "radius": ("radius", 40.0 + np.arange(4), {"units": "pixel"}),
            "phi": ("phi", phi, {"units": "rad"}),
            "q": ("radius", 2.0 + 0.01 * np.arange(4), {"units": "1/angstrom"}),
        },
        ("radius", "phi"),
        name="polar",
    )


def test_polar_shows_rings_upwards_with_q_and_degrees(rings):
    ax = plot.polar(rings)
    assert ax.get_ylabel() == "q (Å⁻¹)"
    assert ax.get_xlabel() == "azimuth (degree)"
    (mesh,) = ax.collections
    assert mesh.get_array().mask.sum() == 3
    low, high = ax.get_xlim()
    assert low == pytest.approx(-185)
    assert high == pytest.approx(175)
    ax = plot.polar(rings.drop_vars("q").rename(phi="lag"))
    assert ax.get_ylabel() == "radius (pixel)"
    assert ax.get_xlabel() == "difference of azimuth (degree)"


def test_polar_says_what_to_do_with_more_dims(rings):
    with pytest.raises(ValueError, match=r"plot\.polar shows 2 dims.*select a shot"):
        plot.polar(rings.expand_dims(train=3))


def test_ring_is_drawn_over_the_image(picture):
    ax = plot.ring((3.0, 4.0, 2.5), plot.image(picture))
    (circle,) = ax.patches
    assert circle.center == (3.0, 4.0)
    assert circle.radius == 2.5
    (centre,) = ax.lines
    assert (centre.get_xdata()[0], centre.get_ydata()[0]) == (3.0, 4.0)


def test_correlation_shows_half_a_turn_without_the_peak_at_zero():
    lag = np.arange(72) * 2 * np.pi / 72
    found = xr.Dataset(
        {"correlation": ("lag", np.cos(lag)), "sem": ("lag", np.full(72, 0.1))},
        {"lag": lag},
    )
    ax = plot.correlation(found, expected=[np.pi / 3])
    curve = ax.lines[-1]
    assert curve.get_xdata()[0] == pytest.approx(10)
    assert curve.get_xdata()[-1] == pytest.approx(180)
    np.testing.assert_allclose(
        curve.get_ydata(), np.cos(np.radians(curve.get_xdata())), atol=1e-12
    )
    assert [t.get_text() for t in ax.texts] == ["60.0°"]
    assert len(plot.correlation(found.drop_vars("sem")).collections) == 0
    with pytest.raises(ValueError, match="select or average rings"):
        plot.correlation(found.expand_dims(radius=2))
