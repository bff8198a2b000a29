"""Labels of companions, against plain selections with xarray."""

import numpy as np
import pytest
import xarray as xr

from xfelred import geometry, open_run, ops
from xfelred.errors import GeometryMismatchError
from xfelred.ops.companions import matching

pytestmark = pytest.mark.slow

DIMS = ("train", "module", "slow_scan", "fast_scan")
QUADRANTS = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]


@pytest.fixture
def pixels():
    values = np.arange(96, dtype=np.float32).reshape(4, 3, 2, 4)
    coords = {"train": [1, 2, 3, 4], "module": [0, 3, 7]}
    return xr.DataArray(values, dims=DIMS, coords=coords)


@pytest.fixture
def bad(pixels):
    """Differs from module to module."""
    values = np.arange(24).reshape(3, 2, 4) % 5 == 0
    return xr.DataArray(values, {"module": [0, 3, 7]}, DIMS[1:])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
@pytest.mark.parametrize("lazy", [False, True])
def test_map_of_modules_serves_one_selected_module(order, lazy, pixels, bad):
    given = bad.isel(module=order).chunk() if lazy else bad.isel(module=order)
    one = pixels.sel(module=3)
    want = one.where(~bad.sel(module=3))
    xr.testing.assert_equal(ops.apply_bad_pixels(one, given), want)
    got = ops.statistics(one, bad_pixels=given, which=("mean", "count"))
    np.testing.assert_array_equal(got["mean"], want.mean("train"))
    np.testing.assert_array_equal(got["count"], want.count("train"))


def test_selecting_a_module_before_or_after_is_the_same(agipd_run):
    panels = geometry.Geometry.from_quad_positions(
        "AGIPD1M", QUADRANTS, distance=0.2, energy=9300
    )
    frames = open_run(agipd_run.directory).frames(bad_pixels=None).isel(train=[0])
    located = geometry.locate(frames, panels)
    rng = np.random.default_rng(1)
    values = rng.random((4, 512, 128)) < 0.2
    bad = xr.DataArray(values, {"module": frames.module}, DIMS[1:])
    one = located.sel(module=7)
    got = ops.integrate_azimuthally(one, 20, bad_pixels=bad)
    want = ops.integrate_azimuthally(one, 20, bad_pixels=values[2])
    np.testing.assert_array_equal(got["count"], want["count"])
    np.testing.assert_array_equal(got.intensity, want.intensity)
    assert int(want["count"].sum()) > 0


def test_every_labelled_dim_is_looked_up(pixels):
    per_frame = xr.zeros_like(pixels, dtype=int) + pixels.train * 10 + pixels.module
    got = matching(per_frame[::-1, ::-1], pixels.isel(train=[1, 3]))
    np.testing.assert_array_equal(got[:, 1, 0, 0], [23, 43])
    got = matching(per_frame, pixels.isel(train=2, module=0))
    assert got.dims == DIMS[2:]
    assert (got == 30).all()
    assert list(got.coords) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.rename(slow_scan="y"), "has dims module, y, fast_scan, the data"),
        (lambda b: b.sel(module=[0, 7]), "has module 0, 7, not 3 of the data"),
        (lambda b: b.drop_vars("module"), "no labels for its 3 module, of which 3"),
        (lambda b: b.isel(module=[0, 1, 1]), "has module 3 twice"),
        (lambda b: b[:, :1], "differ in slow_scan"),
    ],
)
def test_what_does_not_fit_is_refused_by_every_operation(change, message, pixels, bad):
    one = pixels.sel(module=3)
    for operation in (
        lambda: ops.apply_bad_pixels(one, change(bad)),
        lambda: ops.statistics(one, bad_pixels=change(bad)),
        lambda: ops.dark_statistics(one, bad_pixels=change(bad)),
    ):
        with pytest.raises(GeometryMismatchError, match=message):
            operation()


@pytest.mark.parametrize("labelled", [True, False])
def test_weights_are_no_bad_pixels(labelled, agipd_run):
    """A float mask may well be one in which 1 is good."""
    panels = geometry.Geometry.flat(
        (512, 128), centre=(60, 250), distance=0.2, pixel_size=2e-4, energy=9300
    )
    frames = open_run(agipd_run.directory).frames(modules=[3])
    one = geometry.locate(frames.isel(module=0, drop=True), panels)
    weights = np.ones((512, 128))
    bad = xr.DataArray(weights, dims=DIMS[2:]) if labelled else weights
    with pytest.raises(ValueError, match="from_good"):
        ops.integrate_azimuthally(one, 9, bad_pixels=bad)


def test_module_without_its_number_cannot_be_looked_up(pixels, bad):
    with pytest.raises(GeometryMismatchError, match="remove module"):
        ops.apply_bad_pixels(pixels.isel(module=1, drop=True), bad)


@pytest.mark.parametrize("dims", [DIMS[1:], DIMS[2:]])
@pytest.mark.parametrize("lazy", [False, True])
def test_stacked_modules_are_taken_apart(dims, lazy, pixels, bad):
    """As in files of masks and geometry that hold all modules as one."""
    stacked = xr.DataArray(bad.values.reshape(6, 4), dims=DIMS[2:])
    given = stacked.expand_dims("module") if "module" in dims else stacked
    given = given.chunk(fast_scan=3) if lazy else given
    want = pixels.where(~bad)
    xr.testing.assert_equal(ops.apply_bad_pixels(pixels, given), want)
    xr.testing.assert_equal(
        ops.apply_bad_pixels(pixels, given.transpose()), want.transpose(*DIMS)
    )
    turned = ops.apply_bad_pixels(pixels.transpose(), given)
    xr.testing.assert_equal(turned, want.transpose())


def test_stack_without_numbers_needs_all_modules_in_their_order(pixels, bad):
    stacked = xr.DataArray(bad.values.reshape(6, 4), dims=DIMS[2:])
    with pytest.raises(GeometryMismatchError, match="stacked along slow_scan"):
        matching(stacked, pixels.isel(module=[1, 0, 2]))
    with pytest.raises(GeometryMismatchError, match="they differ in slow_scan"):
        matching(stacked, pixels.isel(module=[0, 2]))
    unlabelled = matching(stacked, pixels.drop_vars("module"))
    np.testing.assert_array_equal(unlabelled, bad)


def test_stacked_numpy_mask_is_taken_apart(pixels, bad):
    located = geometry.locate(
        pixels, geometry.Geometry.flat((3, 2, 4), (1.2, 0.3), 0.1, 1e-3, energy=9e3)
    )
    want = ops.integrate_azimuthally(located, 3, bad_pixels=bad)
    got = ops.integrate_azimuthally(located, 3, bad_pixels=bad.values.reshape(6, 4))
    np.testing.assert_array_equal(got["count"], want["count"])


OPERATIONS = {
    "apply_bad_pixels": lambda da, bad: ops.apply_bad_pixels(da, bad),
    "statistics": lambda da, bad: ops.statistics(da, bad_pixels=bad)["mean"],
    "roi": lambda da, bad: ops.roi(da, bad_pixels=bad)["sum"],
    "dark": lambda da, bad: ops.dark_statistics(da, bad_pixels=bad)["pedestal"],
    "calibrate": lambda da, bad: ops.calibrate(
        da, {"pedestal": 0.5}, kind="camera", bad_pixels=bad
    ),
    "common_mode": lambda da, bad: ops.subtract_common_mode(
        da, "row", segment=(2, 4), bad_pixels=bad, min_pixels=0
    ),
    "lcls": lambda da, bad: ops.subtract_common_mode_lcls(
        da, cmpars=(2, 1e9, 1e9), detector="camera", bad_pixels=bad
    ),
    "below": lambda da, bad: ops.subtract_common_mode_below(
        da, "row", cut=1e9, segment=(2, 4), bad_pixels=bad
    ),
    "linear": lambda da, bad: ops.fit_linear(da, da.train * 1.0, bad_pixels=bad)[
        "slope"
    ],
    "flux": lambda da, bad: ops.mean_per_flux(da, da.train * 1.0, bad_pixels=bad)[
        "mean"
    ],
    "pixel": lambda da, bad: ops.correlate_pixel(da, (0, 0, 1), bad_pixels=bad),
    "clusters": lambda da, bad: ops.find_clusters(
        da, seed=20, neighbour=1, max_clusters=4, bad_pixels=bad
    )["energy"],
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("make", [np.asarray, np.uint8, lambda a: a.tolist()])
def test_plain_masks_of_the_pixels_are_those_with_labels(operation, make, pixels, bad):
    for mask in (bad, bad[1].drop_vars("module")):
        want, got = operation(pixels, mask), operation(pixels, make(mask.values))
        np.testing.assert_array_equal(got, want)
    assert not np.array_equal(want, operation(pixels, bad[1].values & False))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("shape", [(2,), (4, 2), (4, 2, 4), (1, 3, 2, 4), (4, 3, 2, 4)])
def test_plain_masks_of_another_shape_are_refused(operation, shape, pixels):
    with pytest.raises(GeometryMismatchError, match="without labels"):
        operation(pixels, np.zeros(shape, bool))


def test_plain_masks_go_with_images_and_with_one_module(pixels):
    mask = np.array([[0, 1, 0, 0], [0, 0, 0, 1]], bool)
    image = pixels[:, 0].drop_vars("module").rename(slow_scan="y", fast_scan="x")
    got = ops.apply_bad_pixels(image, mask)
    np.testing.assert_array_equal(np.isnan(got.values), np.stack([mask] * 4))
    one = pixels.isel(module=1)
    got = ops.apply_bad_pixels(one, mask[np.newaxis])
    np.testing.assert_array_equal(np.isnan(got.values), np.stack([mask] * 4))
    with pytest.raises(ValueError, match="from_good"):
        ops.apply_bad_pixels(one, mask.astype(float))


def test_plain_constants_are_those_with_labels(pixels):
    raw = pixels.astype("u2")
    level = np.arange(24.0).reshape(3, 2, 4)
    want = raw.values - level
    got = ops.calibrate(raw, {"pedestal": level, "gain": 1.0}, kind="camera")
    np.testing.assert_array_equal(got, want)
    two = raw.isel(module=[0, 1])
    ranges = np.stack([level[:2]] * 3)
    got = ops.calibrate(two, {"pedestal": ranges}, kind="jungfrau")
    np.testing.assert_array_equal(got, want[:, :2])
    got = ops.calibrate(two, {"pedestal": ranges[:, 0]}, kind="jungfrau")
    np.testing.assert_array_equal(got, two.values - level[0])
    with pytest.raises(GeometryMismatchError, match="3 gain ranges or of as many"):
        ops.calibrate(raw, {"pedestal": level}, kind="jungfrau")
