import contextlib
import io
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.cli import demo, demo_session
from xfelred.cli.demo_lcls import BANKS, SHAPE
from xfelred.cli.main import run

SMALL = ["--trains", "6", "--pulses", "3", "--shots", "60", "--events", "120"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A small demo that has run; where it wrote, and what it said."""
    directory = tmp_path_factory.mktemp("demo") / "new"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert run(["demo", str(directory), *SMALL]) == 0
    return demo.Places.under(directory), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def made(ran):
    return ran[0]


def test_demo_writes_what_it_names(ran):
    places, out, err = ran
    for path in (places.run, places.image, places.profiles, places.figure):
        assert path.exists()
        assert str(path) in out
    assert ">>> run = xf.open_run(" in out
    assert "simulating" in err
    assert "Traceback" not in err


def test_products_of_the_demo_hold_the_run(made):
    image = xr.open_zarr(made.image)
    assert image["mean"].dims == ("module", "slow_scan", "fast_scan")
    assert demo.BROKEN not in image.module
    # A module without gaps has been counted in each frame but its bad pixels.
    assert int(image["count"].sel(module=0).max()) == 6 * 3 - 1 * 2
    assert int(image["count"].sel(module=demo.LOST).max()) < 3 * 3 + 1
    with h5py.File(made.profiles) as file:
        data = file["entry/data"]
        assert data.attrs["signal"] == "intensity"
        assert data["intensity"].shape == (6, 3, demo.N_BINS)
        assert data["q"].attrs["units"] == "1/angstrom"
        profile = np.nanmean(data["intensity"][:, :, :], axis=(0, 1))
        strongest = data["q"][np.nanargmax(profile)]
    # The rings that `synth` simulates.
    assert min(abs(strongest - np.array([0.8, 1.3, 1.9, 2.5]))) < 0.03
    assert made.figure.read_bytes().startswith(b"\x89PNG")


def test_correlation_of_the_demo_is_that_of_gold(made):
    directory = made.run.parent
    assert (directory / "gold.png").read_bytes().startswith(b"\x89PNG")
    with h5py.File(directory / "gold.h5") as file:
        np.testing.assert_allclose(file["x_center"][()], 194.3, atol=0.1)
        np.testing.assert_allclose(file["y_center"][()], 188.8, atol=0.1)
        rows = file["correlation"][:]
        lag = np.degrees(file["entry/data/lag"][:])
    ring = rows[len(rows) // 2 - 1 : len(rows) // 2 + 2].mean(axis=0)
    for low, high, angle in ((30, 96, 74.66), (96, 160, 118.10)):
        here = (lag > low) & (lag < high)
        assert abs(lag[here][np.argmax(ring[here])] - angle) < 1.5


@pytest.mark.nightly
def test_demo_replaces_only_what_it_made(tmp_path):
    for _ in range(2):
        assert run(["demo", str(tmp_path), *SMALL]) == 0
        other = tmp_path / "notes.txt"
        other.write_text("mine")
    assert other.read_text() == "mine"


def test_a_run_of_the_demo_is_replaced_and_nothing_else(made, tmp_path):
    shutil.copytree(made.run, tmp_path / "r0001")
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    demo_session.new_directory(tmp_path / "r0001")
    assert [p.name for p in (tmp_path / "r0001").iterdir()] == [demo_session.MARKER]
    assert other.read_text() == "mine"


def test_demo_does_not_touch_a_run_of_somebody_else(tmp_path, capsys):
    precious = tmp_path / "r0001" / "CORR-R0001-AGIPD00-S00000.h5"
    precious.parent.mkdir()
    precious.write_bytes(b"beam time")
    assert run(["demo", str(tmp_path), *SMALL]) == 1
    assert "was not made by xfelred demo" in capsys.readouterr().err
    assert precious.read_bytes() == b"beam time"


def test_cube_of_the_demo_shows_the_difference(made, tmp_path):
    directory = made.run.parent
    for name in ("calibrated.png", "difference.png"):
        assert (directory / name).read_bytes().startswith(b"\x89PNG")
    report = (directory / "cube_xpptest01_Run0047_delay.html").read_text()
    assert "lightStatus/xray" in report
    with xr.open_zarr(directory / "cube_xpptest01_Run0047_delay.zarr") as cube:
        cube = cube.load()
    simulated = xf.synth.lcls.write_smalldata(
        tmp_path / "same.h5", n_events=4, key="raw", shape=SHAPE, n_banks=BANKS
    )
    pattern = simulated.difference(1.0) / simulated.response(1.0)
    signal = cube.jungfrau1M_sum / cube.ipm2__sum_sum * simulated.config.i0_mean
    change = (signal.sel(laser_on=True) - signal.sel(laser_on=False)).values
    good = np.isfinite(change).reshape(*change.shape[:1], -1).any(axis=1)
    known = np.isfinite(change)
    # How much of the pattern there is at every delay, by least squares.
    found = np.where(known, change * pattern, 0).sum((1, 2, 3))
    found = found[good] / (known * pattern**2).sum((1, 2, 3))[good]
    expected = simulated.response(cube.delay.values[good])
    sharp = np.abs(cube.delay.values[good]) > 0.3  # elsewhere it rises in the bin
    assert sharp.sum() > 6
    np.testing.assert_allclose(found[sharp], expected[sharp], atol=0.15)


@pytest.mark.filterwarnings("ignore:trains of .* differ in their pulses")
def test_the_code_that_the_demo_shows_can_be_pasted(ran):
    places, out, _ = ran
    lines = out.splitlines()
    code = [line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")]
    assert len(code) > 25
    session = {}
    for line in code:
        exec(compile(line, line, "single"), session)
    assert {"frames", "profiles", "found", "signal", "change"} <= {*session}
    stored = xr.open_zarr(places.image)
    np.testing.assert_array_equal(session["image"]["mean"], stored["mean"])
