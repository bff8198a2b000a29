import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import xfelred as xf
from xfelred import geometry, masks, ops
from xfelred.cli.dark import dark
from xfelred.cli.main import run
from xfelred.synth.euxfel import write_run
from xfelred.synth.lcls import write_smalldata

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


RINGS = geometry.Geometry.from_quad_positions(
    "AGIPD1M", [(-525, 625), (-550, -10), (520, -160), (542.5, 475)], distance=0.2,
    energy=9300,
).centres.transpose(1, 2, 3, 0)  # fmt: skip


@pytest.fixture
def call(tmp_path):
    """Call `xfelred dark RUN -o constants.zarr ...`; return (result, constants)."""

    def invoke(truth, *options, output="constants.zarr"):
        path = tmp_path / output
        arguments = ["dark", str(truth.directory), "-o", str(path), *options]
        if "--report" not in options:
            arguments.append("--no-report")
        assert run(arguments) == 0
        return xr.open_zarr(path)

    return invoke


@pytest.fixture
def jungfrau_raw_runs(tmp_path):
    """Three raw JUNGFRAU runs, of the same modules, and their frames."""
    runs = [
        write_run(
            tmp_path / f"r{r}", kind="JUNGFRAU", corrected=False, modules=(2,),
            n_trains=3, pulses=1, seed=r, xgm=False, motors=False,
        ).directory
        for r in range(3)
    ]  # fmt: skip
    return runs, [xf.open_run(one).frames() for one in runs]


def check_constants(got, values):
    """Compare with numpy on the true frames, whose first axis is reduced."""
    values = values.astype("f8")
    np.testing.assert_allclose(got.pedestal, values.mean(0), rtol=1e-12)
    noise = values.std(0, ddof=1)
    np.testing.assert_allclose(got.noise, noise, rtol=1e-9, atol=1e-9)
    assert (got.n_frames == len(values)).all()
    assert got.bad_pixels.dtype == np.uint32


def test_raw_agipd_takes_the_signal_of_each_cell(agipd_raw_run, call, capsys):
    got = call(agipd_raw_run)
    assert got.pedestal.dims == ("cell", "module", "slow_scan", "fast_scan")
    assert got.cell.values.tolist() == [0, 1, 2]
    check_constants(got, agipd_raw_run.frames()[:, :, :, 0])
    out, err = capsys.readouterr()
    assert out.endswith("constants.zarr\n")
    assert "writing constants.zarr" in err


@pytest.mark.filterwarnings("ignore:.*corrected already")
def test_all_kinds_of_detectors_just_work(dssc_run, jungfrau_run, agipd_run, call):
    got = call(dssc_run)
    check_constants(got, dssc_run.frames())
    got = call(jungfrau_run, output="jungfrau.zarr")
    assert got.cell.values.tolist() == [15, 0]
    assert set(got.n_frames.sel(module=2).values.ravel()) == {2}  # one train is missing
    want = ops.dark_statistics(xf.open_run(agipd_run.directory).frames(), by="pulse")
    got = call(agipd_run, output="agipd.zarr").swap_dims(cell="pulse")
    np.testing.assert_array_equal(got.bad_pixels, want.bad_pixels)


def test_lpd_in_parallel_gain_is_asked_for(lpd_parallel_run, call, capsys):
    got = call(lpd_parallel_run, "--parallel-gain")
    assert got.pedestal.dims[:2] == ("cell", "gain")
    check_constants(got, lpd_parallel_run.frames())
    assert capsys.readouterr().err.count("warning") == 0
    call(lpd_parallel_run, output="folded.zarr")
    assert "use --parallel-gain" in capsys.readouterr().err


def test_ragged_trains_give_constants_by_pulse(ragged_run, call, capsys):
    got = call(ragged_run)
    assert got.pedestal.dims[0] == "pulse"
    assert "memory cells differ between trains" in capsys.readouterr().err
    arguments = ["dark", str(ragged_run.directory), "-o", "x.zarr", "--by", "cell"]
    assert run(arguments) == 2
    assert "use --by pulse" in capsys.readouterr().err


def test_options_choose_trains_frames_and_limits(dssc_run, call):
    frames = xf.open_run(dssc_run.directory).frames()
    got = call(dssc_run, "--trains", "1:", "--by", "none", "--noise-sigma", "2")
    want = ops.dark_statistics(frames.isel(train=slice(1, None)), noise_sigma=2)
    for name, values in want.compute().items():
        np.testing.assert_array_equal(got[name], values)
    check_constants(got, dssc_run.frames()[1:].reshape(-1, *frames.shape[2:]))


def test_every_format_that_holds_a_dataset_can_be_chosen(dssc_run, tmp_path):
    for name in ("c.h5", "c.nc"):
        path = tmp_path / name
        arguments = ["dark", str(dssc_run.directory), "-o", str(path), "--no-report"]
        assert run(arguments) == 0
        assert path.stat().st_size > 1_000_000


def test_dry_run_says_what_would_be_read_and_writes_nothing(
    dssc_run, tmp_path, capsys, no_compute
):
    path = tmp_path / "c.zarr"
    arguments = ["dark", str(dssc_run.directory), "-o", str(path), "--dry-run"]
    with no_compute():
        assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "3.00 MiB of 3.00 MiB" in out
    for word in ("blocks", "tasks", "peak memory", "time"):
        assert word in out
    assert err == ""
    assert run(["dark", str(dssc_run.directory), "--dry-run", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["plan"]["bytes_to_read"] == 2 * 3 * 4 * 128 * 512 * 2
    assert content["sizes"]["cell"] == 4
    assert content["output"] is None
    assert content["by"] == "cell"
    assert list(tmp_path.iterdir()) == []


def test_dry_run_counts_workers(dssc_run, capsys):
    arguments = ["dark", str(dssc_run.directory), "--dry-run", "--json"]
    assert run([*arguments, "--workers", "5"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["workers"], plan["threads"]) == (5, 1)


def test_json_is_all_that_stands_on_stdout(dssc_run, tmp_path, capsys):
    path = tmp_path / "c.zarr"
    arguments = [
        "dark",
        str(dssc_run.directory),
        "-o",
        str(path),
        "--json",
        "--no-report",
    ]
    assert run(arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["output"] == str(path)
    assert content["n_trains"] == 3
    assert path.is_dir()


def test_older_result_is_kept_unless_told_otherwise(dssc_run, tmp_path, capsys):
    path = tmp_path / "c.zarr"
    arguments = ["dark", str(dssc_run.directory), "-o", str(path), "--no-report"]
    assert run(arguments) == 0
    assert run([*arguments, "--by", "none"]) == 1
    assert str(path) in capsys.readouterr().err
    assert "cell" in xr.open_zarr(path).dims
    assert run([*arguments, "--by", "none", "--overwrite"]) == 0
    assert "cell" not in xr.open_zarr(path).dims
    assert run([*arguments, "--by", "none", "--resume"]) == 1  # another computation


def test_older_result_is_an_error_that_names_the_option(dssc_run, tmp_path, capsys):
    arguments = ["dark", str(dssc_run.directory), "-o", str(tmp_path / "c.zarr")]
    assert run([*arguments, "--no-report"]) == 0
    assert run([*arguments, "--no-report"]) == 1
    assert "overwrite=True (--overwrite)" in capsys.readouterr().err


def test_frames_without_memory_cells_are_not_said_to_have_some(tmp_path, capsys):
    path = tmp_path / "xpptest01_Run0001.h5"
    write_smalldata(path, n_events=10, shape=(1, 6, 8), n_banks=2, key="raw")
    arguments = ["dark", str(path), "--dry-run", "--key", "raw"]
    assert run(arguments) == 0
    assert "memory cells" not in capsys.readouterr().err
    assert run([*arguments, "--by", "cell"]) == 2
    words = capsys.readouterr().err
    assert "no memory cells" in words
    assert "differ" not in words


def test_interrupted_call_is_resumed(dssc_run, tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.zarr"
    arguments = [
        "dark",
        str(dssc_run.directory),
        "-o",
        str(path),
        "--resume",
        "--no-report",
    ]

    def full(*_, **__):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("xfelred.products.zarr_store.publish", full)
        assert run(arguments) == 1
    assert "no space left" in capsys.readouterr().err
    assert not path.exists()
    assert run(arguments) == 0
    check_constants(xr.open_zarr(path), dssc_run.frames())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say where to write"),
        (["-o", "c.foo"], "no file format ends in '.foo'"),
        (["-o", "c.h5", "--resume"], "--resume works with .zarr only"),
        (["-o", "c.zarr", "--trains", "ten"], "no range of positions"),
        (["-o", "c.zarr", "--trains", "5"], "no range of positions"),
        (["-o", "c.zarr", "--trains", "0:5:-1"], "no range of positions"),
        (["-o", "c.zarr", "--by", "module"], "'module' is not one of"),
        (["-o", "c.zarr", "--noise-sigma", "0"], "noise-sigma"),
        (["-o", "c.zarr", "--workers", "0"], "workers"),
        (["-o", "c.zarr", "--workers", "1", "--cluster", "tls://a:1"], "give one"),
        (["-o", "c.zarr", "--parallel-gain"], "no option 'parallel_gain'"),
    ],
)
def test_wrong_usage_exits_with_2(options, message, dssc_run, capsys):
    assert run(["dark", str(dssc_run.directory), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_empty_selection_exits_with_3(dssc_run, tmp_path, capsys):
    path = tmp_path / "c.zarr"
    arguments = ["dark", str(dssc_run.directory), "-o", str(path)]
    assert run([*arguments, "--trains", "3:9"]) == 3
    assert "none of the 3 trains" in capsys.readouterr().err
    assert not path.exists()


def test_wrong_data_exit_with_1(dssc_run, tmp_path, capsys):
    arguments = ["dark", str(dssc_run.directory), "-o", str(tmp_path / "c.tif")]
    assert run(arguments) == 1
    assert "a TIFF file holds one variable" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run([*arguments[:2], "--dry-run", "--detector", "SCS_DET_DSSC1M-2"]) == 1
    assert "Did you mean 'SCS_DET_DSSC1M-1'?" in capsys.readouterr().err
    assert run(["dark", str(tmp_path / "nothing"), "--dry-run"]) == 1


def test_report_shows_the_constants(agipd_raw_run, call, tmp_path, capsys):
    got = call(agipd_raw_run, "--report", output="<b>.zarr")
    text = (tmp_path / "<b>.html").read_text()
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / '<b>.zarr'}\n"
    assert "report: " in err
    assert "SPB_DET_AGIPD1M-1" in text
    assert text.count("<img") == 1
    for forbidden in ("<script", "http:", "https:", "<b>"):
        assert forbidden not in text
    for name, bit in masks.names.items():
        n = int(((got.bad_pixels & bit) != 0).sum())
        assert (f"<td>{name}</td>" in text) == (n > 0)
        if n:
            assert f"{n}</td>" in text


def test_runs_of_all_gain_ranges_become_one_file(jungfrau_raw_runs, tmp_path):
    path = tmp_path / "jf.zarr"
    runs, frames = jungfrau_raw_runs
    arguments = ["dark", str(runs[0]), "-o", str(path), "--kind", "jungfrau_euxfel"]
    arguments += [f"--gain-run={r}={runs[r]}" for r in (1, 2)]
    assert run(arguments) == 0
    constants = xr.open_zarr(path).load()
    assert constants.pedestal.dims[0] == "gain_range"
    assert (tmp_path / "jf.html").read_text().count("<img") == 3
    for r, one in enumerate(frames):
        want = one.values.astype("f8").mean(0)
        got = constants.pedestal.isel(gain_range=r)
        np.testing.assert_allclose(got.values, want, rtol=1e-12)
    code = xr.full_like(frames[1], 1, dtype="u1")
    out = ops.calibrate(
        frames[1], constants.drop_vars("bad_pixels"), kind="jungfrau_euxfel",
        gain_index=code,
    )  # fmt: skip
    np.testing.assert_allclose(out.mean("train").values, 0, atol=1e-2)
    assert run([*arguments[:-1], "--gain-run=1=x", "--overwrite"]) == 2
    assert run([*arguments, "--gain-run=one", "--overwrite"]) == 2


def test_constants_from_a_file_go_into_calibrate(dssc_run, call, no_compute):
    lazy = call(dssc_run)
    frames = xf.open_run(dssc_run.directory).frames()
    with no_compute():
        out = ops.calibrate(frames, lazy, kind="dssc")
    want = frames.values - lazy.pedestal.values.astype("f4")
    want[:, lazy.bad_pixels.values != 0] = np.nan
    np.testing.assert_array_equal(out.values, want)
    here = ops.calibrate(frames, lazy.load(), kind="dssc")
    np.testing.assert_array_equal(here.values, want)


@pytest.mark.parametrize(
    "ending",
    [".zarr", *(pytest.param(e, marks=pytest.mark.nightly) for e in (".nc", ".nxs"))],
)
def test_a_run_with_light_is_no_dark_run(tmp_path, capsys, ending):
    """Corrected frames, and rings that come and go."""
    write_run(
        tmp_path / "r1", kind="AGIPD1M", modules=(0, 1), n_trains=6, pulses=[0, 4],
        noise=1.0, amplitude=300.0, positions=RINGS,
    )  # fmt: skip
    output = tmp_path / f"constants{ending}"
    assert run(["dark", str(tmp_path / "r1"), "-o", str(output), "--no-report"]) == 0
    err = capsys.readouterr().err
    assert "warning: these frames of p700000 r0001 are corrected already" in err
    share = re.search(r"warning: (\d+)% of the pixels are bad: is this a dark run", err)
    assert 10 < int(share[1]) < 100


def test_help_explains_every_option():
    text = CliRunner().invoke(dark, ["--help"]).output
    for option in dark.params:
        if option.param_type_name == "option":
            assert option.opts[-1] in text
            assert option.help


def test_workers_and_clusters_compute_the_same(dssc_run, call, monkeypatch):
    """The cluster is started, or connected to, and closed again."""
    used = []

    class Client:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __enter__(self):
            used.append(self.arguments)

        def __exit__(self, *_):
            used.append("closed")

    monkeypatch.setattr(xf.cluster, "local", Client)
    monkeypatch.setattr(xf.cluster, "connect", Client)
    call(dssc_run, "--workers", "2")
    call(dssc_run, "--cluster", "tls://host:8786", output="other.zarr")
    assert used == [(2,), "closed", ("tls://host:8786",), "closed"]


def test_workers_write_what_threads_write(dssc_run, call):
    here, there = call(dssc_run), call(dssc_run, "--workers", "1", output="w.zarr")
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


@pytest.mark.nightly
def test_process_with_workers_writes_what_threads_write(dssc_run, tmp_path, call):
    here = call(dssc_run)
    path = tmp_path / "workers.zarr"
    code = (
        "import sys; from xfelred.cli.main import main\n"
        "if __name__ == '__main__': main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "dark", str(dssc_run.directory), "-o", str(path),
         "--workers", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    there = xr.open_zarr(path)
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


def test_shots_that_small_data_call_lit_are_counted(tmp_path, capsys):
    path = tmp_path / "xppdark_Run0003.h5"
    write_smalldata(path, n_events=30, key="raw", shape=(2, 8, 12))
    assert run(["dark", str(path), "-o", str(tmp_path / "c.zarr"), "--no-report"]) == 0
    n = int((xf.open_run(path).scalars(["lightStatus/xray"])["lightStatus/xray"]).sum())
    assert f"warning: {n} of 30 shots" in capsys.readouterr().err
