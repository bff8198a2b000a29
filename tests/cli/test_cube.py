"""`xfelred cube` and `xfelred config`: what they print, write, and exit with."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
import xarray as xr
import yaml
from click.testing import CliRunner

import xfelred as xf
from xfelred.cli import cube as module
from xfelred.cli.cube import cube
from xfelred.cli.main import run
from xfelred.synth.lcls import write_smalldata

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAME = "cube_xpptest01_Run0047_delay"
LCLS = "Cube_xpptest01_Run0047_lxt"
N_EVENTS, N_BLOCKS = 120, 6
RECIPE = """\
schema_version: 1
kind: cube
bins:
  delay: {start: "-3 ps", stop: "5 ps", step: "1 ps"}
laser: split
filters:
  filter1: [lightStatus/xray == 1]
  bright: [lightStatus/xray == 1, 2000 < ipm2/sum < 60000]
variables: [ipm2/sum]
detectors:
  jungfrau1M: {key: calib}
execution: {block_trains: 20}
output: {formats: [zarr], report: false}
"""
NOTHING = "  nothing: [ipm2/sum > 1e9]\nvariables:"
PRODUCTS = [f"{NAME}.zarr"]
BRIGHT = [f"{NAME}_bright.zarr"]
ESTIMATE = [
    "blocks", "tasks", "bytes_read", "bytes_output", "memory_estimate",
    "client_memory", "paths",
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=N_EVENTS, shape=(2, 6, 8), n_banks=2)
    return path


@pytest.fixture
def recipe(tmp_path):
    """The recipe as a file; ``recipe(old, new)`` writes another text into it."""
    path = tmp_path / "cube.yaml"
    path.write_text(RECIPE)

    def changed(old, new):
        assert old in RECIPE
        path.write_text(RECIPE.replace(old, new))
        return path

    changed.path = path
    return changed


@pytest.fixture
def call(source, recipe, tmp_path, capsys):
    """Call `xfelred cube RUN RECIPE -o out ...`; return (exit code, stdout, stderr)."""

    def invoke(*options, of=source):
        out = str(tmp_path / "out")
        code = run(["cube", str(of), str(recipe.path), "-o", out, *options])
        return code, *capsys.readouterr()

    return invoke


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@contextmanager
def interrupted(after):
    """In the block a call is stopped by its user when some blocks are done."""
    original = module.write_cube

    def stopped(*arguments, report, **options):
        def stop(done, blocks):
            report(done, blocks)
            if done >= after:
                raise KeyboardInterrupt

        return original(*arguments, report=stop, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_cube", stopped)
        yield


def opened(path):
    return xr.open_zarr(path, consolidated=False).load()


def same_bits(one, two):
    assert set(one.variables) == set(two.variables)
    for name, array in one.variables.items():
        assert array.values.tobytes() == two[name].values.tobytes(), name


def plain_cube(source, recipe, **options):
    return xf.make_cube(xf.open_run(source), recipe.path, **options).compute()


def names_in(out):
    return sorted(p.name for p in out.iterdir())


# -- results -------------------------------------------------------------------------


def test_paths_stand_on_stdout_and_progress_on_stderr(call, out, source, recipe):
    code, text, words = call()
    assert code == 0
    assert text.splitlines() == [str(out / name) for name in PRODUCTS]
    assert names_in(out) == sorted([*PRODUCTS, f"{NAME}.manifest.json"])
    # In a log file: whole lines, no carriage returns and no colours.
    assert "\r" not in words
    assert "\x1b" not in words
    lines = words.splitlines()
    assert lines[0] == "cube of xpptest01_Run0047 ..."
    # A slow machine says more often how far it is.
    told = [re.fullmatch(r"cube of \w+: (\d+) of 6 blocks", x) for x in lines[1:-1]]
    done = [int(found[1]) for found in told]
    assert done == sorted(set(done))
    assert done[-1] == N_BLOCKS == 6
    assert re.fullmatch(r"cube of xpptest01_Run0047: [\d.]+ s", lines[-1])
    made, expected = opened(out / PRODUCTS[0]), plain_cube(source, recipe)
    for name in ("n_shots", "jungfrau1M_sum", "jungfrau1M_var", "ipm2__sum_mean"):
        np.testing.assert_allclose(made[name], expected[name], rtol=1e-9, atol=1e-9)


def test_progress_on_a_terminal_is_one_line(call, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    code, _, words = call()
    assert code == 0
    assert f"\rcube of xpptest01_Run0047: {N_BLOCKS} of {N_BLOCKS} blocks\n" in words
    assert words.count("\n") == 3


def test_json_is_one_object_and_all_that_stands_on_stdout(call, out):
    code, text, words = call("--json")
    assert code == 0
    content = json.loads(text)
    assert list(content) == ["paths", "blocks", "computed", "reused", "cut_flow"]
    assert content["paths"] == [str(out / name) for name in PRODUCTS]
    counts = content["blocks"], content["computed"], content["reused"]
    assert counts == (N_BLOCKS, N_BLOCKS, 0)
    assert [flow["laser"] for flow in content["cut_flow"]] == ["on", "off"]
    for flow in content["cut_flow"]:
        assert flow["total"] == N_EVENTS
        assert flow["rows"][-1]["cumulative"] == flow["passed"]
        assert flow["rows"][0]["cut"] == "lightStatus/xray == 1"
    assert "blocks" in words


def test_recipe_in_toml_makes_the_same_cube(call, recipe, source, tmp_path, capsys):
    assert call()[0] == 0
    path = tmp_path / "cube.toml"
    path.write_text(
        'schema_version = 1\nkind = "cube"\nlaser = "split"\nvariables = ["ipm2/sum"]\n'
        '[bins]\ndelay = {start = "-3 ps", stop = "5 ps", step = "1 ps"}\n'
        '[filters]\nfilter1 = ["lightStatus/xray == 1"]\n'
        '[detectors]\njungfrau1M = {key = "calib"}\n[execution]\nblock_trains = 20\n'
        '[output]\nformats = ["zarr"]\nreport = false\n'
    )
    assert run(["cube", str(source), str(path), "-o", str(tmp_path / "toml")]) == 0
    one, two = (opened(tmp_path / d / f"{NAME}.zarr") for d in ("out", "toml"))
    same_bits(one, two)


def test_report_and_every_format_are_named(call, recipe, out):
    recipe("[zarr], report: false", "[h5, netcdf, tiff, lcls_h5], report: true")
    code, text, _ = call()
    assert code == 0
    assert text.splitlines() == [
        str(out / name)
        for name in (
            f"{NAME}.h5", f"{NAME}.nc", "Run_47_jungfrau1M_on_filter_filter1.tiff",
            "Run_47_jungfrau1M_off_filter_filter1.tiff", f"{LCLS}_on.h5",
            f"{LCLS}_off.h5", f"{NAME}.html",
        )
    ]  # fmt: skip
    assert all(Path(line).is_file() for line in text.splitlines())


# -- dry run -------------------------------------------------------------------------


def test_dry_run_writes_nothing_and_says_what_it_takes(call, out, no_compute):
    with no_compute():
        code, text, words = call("--dry-run")
    assert code == 0
    assert words == ""
    assert not out.exists()
    said = dict(line.split(maxsplit=1) for line in text.splitlines()[:6])
    assert list(said) == ESTIMATE[:6]
    assert said["blocks"] == str(N_BLOCKS)
    assert [line.split()[1] for line in text.splitlines()[6:]] == [
        str(out / name) for name in PRODUCTS
    ]


def test_dry_run_tells_what_a_call_then_does(call, out, source, recipe):
    recipe("[zarr]", "[zarr, lcls_h5]")
    code, text, _ = call("--dry-run", "--json")
    assert code == 0
    said = json.loads(text)
    assert list(said) == ESTIMATE
    _, text, _ = call("--json")
    done = json.loads(text)
    assert said["paths"] == done["paths"]
    assert said["blocks"] == done["blocks"]
    # All frames that are binned, once.
    made = opened(out / PRODUCTS[0])
    frame = 2 * 6 * 8 * np.dtype("f4").itemsize
    assert said["bytes_read"] == int(made["jungfrau1M_shots"].sum()) * frame
    assert made.nbytes < said["bytes_output"] < 2 * made.nbytes
    assert said["tasks"] >= said["blocks"]
    assert said["memory_estimate"] >= said["client_memory"] > 1e8


def test_dry_run_works_beside_a_finished_cube(call, out):
    assert call()[0] == 0
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert call("--dry-run")[0] == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_dry_run_of_all_filters_adds_them_up(call):
    each = [
        json.loads(call("--dry-run", "--json", "--filter", name)[1])
        for name in ("filter1", "bright")
    ]
    both = json.loads(call("--dry-run", "--json", "--filter", "all")[1])
    for key in ("blocks", "tasks", "bytes_read", "bytes_output"):
        assert both[key] == sum(e[key] for e in each)
    assert both["memory_estimate"] == max(e["memory_estimate"] for e in each)
    assert both["paths"] == each[0]["paths"] + each[1]["paths"]


def test_dry_run_of_a_huge_run_reads_scalars_only(call, out, tmp_path, no_compute):
    """Its 84 GB of frames are not even in the file."""
    n, shape = 20_000, (2, 512, 1024)
    path = tmp_path / "xppbig_Run0001.h5"
    write_smalldata(path, n_events=n, key=None, shape=shape, droplets=0, slow_every=0)
    with h5py.File(path, "r+") as file:
        # In one piece: of chunks the file would tell that nobody wrote them.
        file.create_dataset("jungfrau1M/calib", (n, *shape), "f4")
    begin = time.monotonic()
    with no_compute():
        code, text, _ = call("--dry-run", "--json", of=path)
    # Takes 3 s; the frames would take minutes, and more memory than there is.
    assert time.monotonic() - begin < 60
    assert code == 0
    said = json.loads(text)
    assert said["blocks"] == n // 20
    assert 0.9 < said["bytes_read"] / (4 * n * np.prod(shape)) < 1
    assert said["memory_estimate"] < 2e9
    assert said["client_memory"] < 2e9
    assert not out.exists()


# -- filters -------------------------------------------------------------------------


def test_filter_by_name(call, out, source, recipe):
    code, text, _ = call("--filter", "bright")
    assert code == 0
    assert text.splitlines() == [str(out / name) for name in BRIGHT]
    expected = plain_cube(source, recipe, filter="bright")
    made = opened(out / BRIGHT[0])
    np.testing.assert_array_equal(made["n_shots"], expected["n_shots"])
    everything = plain_cube(source, recipe)
    assert int(made["n_shots"].sum()) < int(everything["n_shots"].sum())


def test_first_filter_is_the_default(call, out):
    assert call()[1] == call("--resume", "--filter", "filter1")[1]


def test_all_filters_make_a_cube_each(call, out):
    code, text, words = call("--filter", "all", "--json")
    assert code == 0
    content = json.loads(text)
    assert content["paths"] == [str(out / name) for name in (*PRODUCTS, *BRIGHT)]
    assert content["filters"] == ["filter1", "bright"]
    assert content["blocks"] == content["computed"] == 2 * N_BLOCKS
    assert len(content["cut_flow"]) == 4
    for name in ("filter1", "bright"):
        assert f"cube of xpptest01_Run0047, filter {name} ..." in words


def test_all_of_a_recipe_without_filters_is_one_cube(call, recipe, out):
    filters = RECIPE[RECIPE.index("filters:") : RECIPE.index("variables:")]
    recipe(filters, "")
    code, text, _ = call("--filter", "all")
    assert code == 0
    assert text.splitlines() == [str(out / name) for name in PRODUCTS]


def test_unknown_filter_exits_with_2_and_the_nearest_word(call, out):
    code, text, words = call("--filter", "birght")
    assert (code, text) == (2, "")
    assert "no filter 'birght'. Did you mean 'bright'? There are: filter1, bright" in (
        words
    )
    assert "cube.yaml line 6, filters" in words
    assert not out.exists()


def table_of(words):
    """The rows of a cut-flow table: cut, alone, cumulative."""
    found = re.findall(r"^  (\S.*?)\s{2,}(\d+)\s+(\d+)", words, re.MULTILINE)
    return {cut: (int(alone), int(both)) for cut, alone, both in found}


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--json",)])
def test_filter_that_passes_nothing_exits_with_3_and_the_table(
    call, recipe, out, options
):
    recipe("[lightStatus/xray == 1]", "[lightStatus/xray == 1, ipm2/sum > 1e9]")
    code, text, words = call(*options)
    assert code == 3
    for state in ("on", "off"):
        assert f"no shot of xpptest01_Run0047 with laser {state} passes" in words
    if "--json" in options:
        content = json.loads(text)
        assert content["paths"] == []
        flows = content["cut_flow"]
        assert [(f["filter"], f["laser"]) for f in flows] == [
            ("filter1", "on"), ("filter1", "off")
        ]  # fmt: skip
        assert flows[0]["rows"][1] == {
            "cut": "ipm2/sum > 1e9", "alone": 0, "cumulative": 0
        }  # fmt: skip
    else:
        assert text == ""
    assert "alone   cumulative" in words
    assert "<- removes everything" in words
    table = table_of(words)
    assert table["ipm2/sum > 1e9"] == (0, 0)
    assert table["lightStatus/xray == 1"] == (117, 117)
    assert not out.exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_other_filters_are_made_when_one_passes_nothing(call, recipe, dry):
    recipe("variables:", NOTHING)
    code, text, words = call("--filter", "all", "--json", *dry)
    assert code == 3
    assert [Path(p).name for p in json.loads(text)["paths"]] == [*PRODUCTS, *BRIGHT]
    assert "filter nothing: no shot of xpptest01_Run0047 with laser on" in words
    assert table_of(words)["ipm2/sum > 1e9"] == (0, 0)
    assert words.count("<- removes everything") == 2  # a table for on, one for off
    if not dry:
        flows = json.loads(text)["cut_flow"]
        names = ["filter1", "bright", "nothing"]
        assert [f["filter"] for f in flows] == [n for n in names for _ in range(2)]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_complete_cubes_are_told_although_a_later_one_fails(
    call, out, monkeypatch, options
):
    original = module.write_cube

    def fails(*arguments, filter, **more):
        if filter == "bright":
            raise xf.BrokenFileError("the disk is gone")
        return original(*arguments, filter=filter, **more)

    monkeypatch.setattr(module, "write_cube", fails)
    code, text, words = call("--filter", "all", *options)
    assert code == 1
    assert "the disk is gone" in words
    expected = [str(out / name) for name in PRODUCTS]
    assert (json.loads(text)["paths"] if options else text.splitlines()) == expected


# -- going on ------------------------------------------------------------------------


def test_interrupted_call_goes_on_with_resume(call, out):
    with interrupted(4):
        code, text, words = call()
    assert (code, text) == (1, "")
    assert words.endswith("interrupted\n")
    assert names_in(out) == [f"{NAME}.inprogress"]
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    code, text, words = call()
    assert (code, text) == (1, "")
    for word in ("--resume", "--overwrite", f"{NAME}.inprogress"):
        assert word in words
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    code, text, _ = call("--resume", "--json")
    assert code == 0
    content = json.loads(text)
    assert (content["computed"], content["reused"]) == (2, 4)
    resumed = opened(out / PRODUCTS[0])
    assert call("--overwrite")[0] == 0
    same_bits(resumed, opened(out / PRODUCTS[0]))


def test_finished_cube_is_kept_unless_told_otherwise(call, out):
    assert call()[0] == 0
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    code, text, words = call()
    assert (code, text) == (1, "")
    assert "--resume" in words
    assert "--overwrite" in words
    code, text, _ = call("--resume", "--json")
    assert code == 0
    content = json.loads(text)
    assert (content["computed"], content["reused"]) == (0, N_BLOCKS)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    code, text, _ = call("--overwrite", "--json")
    assert code == 0
    assert json.loads(text)["computed"] == N_BLOCKS


def test_overwrite_starts_an_unfinished_cube_anew(call):
    with interrupted(4):
        assert call()[0] == 1
    code, text, _ = call("--overwrite", "--json")
    assert code == 0
    assert json.loads(text)["computed"] == N_BLOCKS


def test_changed_recipe_exits_with_2_and_says_what_changed(call, recipe):
    with interrupted(2):
        assert call()[0] == 1
    recipe("{key: calib}", "{key: calib, threshold: 2.0}")
    code, _, words = call("--resume")
    assert code == 2
    assert "detectors.jungfrau1M.threshold" in words
    assert "--overwrite" in words


# -- mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("laser: split", "lasr: split", ["line 5, lasr:", "Did you mean 'laser'?"]),
        ('stop: "5 ps"', 'stop: "-5 ps"', ["line 4, bins.delay", "start"]),
        ('"1 ps"}', '"1 ps", stpo: 3}', ["line 4, bins.delay.stpo", "'stop'"]),
        ("laser: split", "laser: sometimes", ["line 5, laser:", "'sometimes'"]),
        ("{key: calib}", "{tresh: 3}", ["line 11, detectors.jungfrau1M.tresh"]),
        ("block_trains: 20", "block_trains: 0", ["line 12, execution.block_trains"]),
        ("[zarr]", "[zar]", ["line 13, output.formats.0"]),
        ("xray == 1]", "xray ==]", ["line 7, filters.filter1.0"]),
        ("kind: cube", "kind: !!python/name:os.system", ["line 2"]),
        ("jungfrau1M:", "jungfrau1m:", ["line 11", "Did you mean 'jungfrau1M'?"]),
        ("[ipm2/sum]", "[ipm2/summ]", ["line 9, variables.0", "ipm2/sum"]),
        ("xray == 1]", "xrays == 1]", ["line 7, filters.filter1.0", "xray"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["cube", "dry-run", "check"])
def test_mistakes_of_recipes_exit_with_2_and_say_where(
    source, recipe, out, capsys, no_compute, command, old, new, expected
):
    path = recipe(old, new)
    arguments = {
        "cube": ["cube", str(source), str(path), "-o", str(out)],
        "dry-run": ["cube", str(source), str(path), "-o", str(out), "--dry-run"],
        "check": ["config", "check", str(path), "--run", str(source)],
    }[command]
    with no_compute():
        code = run(arguments)
    text, words = capsys.readouterr()
    assert (code, text) == (2, "")
    assert words.splitlines()[-1].startswith(f"ConfigError: {path} ")
    for part in expected:
        assert part in words
    assert not out.exists()


def test_mistakes_of_usage_exit_with_2(call, source, recipe, out, capsys, tmp_path):
    for options, message in (
        (["--workers", "0"], "workers"),
        (["--workers", "1", "--cluster", "tls://a:1"], "give one"),
        (["--resume", "--overwrite"], "give one"),
        (["--fliter", "bright"], "--filter"),
    ):
        code, text, words = call(*options)
        assert (code, text) == (2, "")
        assert message in words
    assert run(["cube", str(source), str(recipe.path)]) == 2
    assert "--output" in capsys.readouterr().err
    assert run(["cube", str(source), str(tmp_path / "no.yaml"), "-o", str(out)]) == 2
    assert "no.yaml" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("where", ["nonsense", "tls://host", "tcp://:8786", "a:b"])
def test_cluster_that_is_no_address_exits_with_2_and_says_what_is(call, out, where):
    code, text, words = call("--cluster", where)
    assert (code, text) == (2, "")
    assert "--cluster is threads, local, slurm or an address" in words
    assert repr(where) in words
    assert "tls://host:port" in words
    assert "Traceback" not in words
    assert not out.exists()


def test_slurm_without_a_configuration_says_what_is_missing(call):
    with dask.config.set({"jobqueue.slurm": None}):
        code, _, words = call("--cluster", "slurm")
    assert code == 2
    for word in ("cores", "memory"):  # dask-jobqueue has a default of the walltime
        assert f"jobqueue.slurm.{word}" in words


def test_bad_paths_of_runs_exit_with_1(call, tmp_path, out):
    code, text, words = call(of=tmp_path / "nothing.h5")
    assert (code, text) == (1, "")
    assert "nothing.h5: no such file" in words
    other = tmp_path / "notes.txt"
    other.write_text("no run")
    code, text, words = call(of=other)
    assert (code, text) == (1, "")
    assert "is no run of a known facility" in words
    assert not out.exists()


def test_output_that_is_a_file_is_refused(call, out):
    out.write_text("mine")
    assert call()[0] == 2
    assert out.read_text() == "mine"


# -- where it computes ---------------------------------------------------------------


def test_number_of_threads_changes_no_bit(call, out):
    assert call("--cluster", "threads", "--workers", "1")[0] == 0
    one = opened(out / PRODUCTS[0])
    assert call("--cluster", "threads", "--workers", "3", "--overwrite")[0] == 0
    same_bits(one, opened(out / PRODUCTS[0]))


def test_clusters_are_started_connected_to_and_closed(call, monkeypatch):
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
    # The same every time: where it computes is what is looked at.
    original, made = module.write_cube, []

    def once(*arguments, **options):
        made.append(made[0] if made else original(*arguments, **options))
        return made[0]

    monkeypatch.setattr(module, "write_cube", once)
    assert call("--workers", "2")[0] == 0
    assert call("--cluster", "local", "--overwrite")[0] == 0
    assert call("--cluster", "tls://host:8786", "--overwrite")[0] == 0
    assert used == [
        (2,), "closed", (None,), "closed", ("tls://host:8786",), "closed"
    ]  # fmt: skip


@pytest.mark.nightly  # `xfelred dark` with workers runs always
def test_process_with_workers_writes_the_same_bits(call, source, recipe, out, tmp_path):
    assert call()[0] == 0
    code = (
        "import sys; from xfelred.cli.main import main\n"
        "if __name__ == '__main__': main(sys.argv[1:])"
    )
    there = tmp_path / "workers"
    done = subprocess.run(
        [sys.executable, "-c", code, "cube", str(source), str(recipe.path),
         "-o", str(there), "--workers", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(there / name) for name in PRODUCTS]
    # A log file tells of the cube, and nothing of dask's.
    assert all(line.startswith("cube of ") for line in done.stderr.splitlines())
    assert 3 <= len(done.stderr.splitlines()) <= 3 + N_BLOCKS
    same_bits(opened(out / PRODUCTS[0]), opened(there / PRODUCTS[0]))


def test_help_explains_every_option():
    text = CliRunner().invoke(cube, ["--help"]).output
    for option in cube.params:
        if option.param_type_name == "option":
            assert option.opts[-1] in text
            assert option.help


# -- config --------------------------------------------------------------------------


def test_check_of_a_good_recipe(recipe, source, capsys, no_compute):
    assert run(["config", "check", str(recipe.path)]) == 0
    text, words = capsys.readouterr()
    assert text == f"{recipe.path}: a good cube recipe\n"
    assert words == ""
    with no_compute():
        assert run(["config", "check", str(recipe.path), "--run", str(source)]) == 0
    lines = capsys.readouterr().out.splitlines()
    passed = {
        tuple(re.search(r"filter (\w+), laser (\w+): (\d+) of 120", x).groups())
        for x in lines[1:]
    }
    ds = xf.open_run(source).scalars(["lightStatus/*", "ipm2/sum", "damage/jungfrau1M"])
    good = (ds["lightStatus/xray"] == 1) & (ds["damage/jungfrau1M"] == 1)
    bright = good & (ds["ipm2/sum"] > 2000)
    on = ds["lightStatus/laser"] == 1
    assert passed == {
        (name, state, str(int((shots & laser).sum())))
        for name, shots in (("filter1", good), ("bright", bright))
        for state, laser in (("on", on), ("off", ~on))
    }


def test_check_finds_filters_that_pass_nothing(recipe, source, capsys):
    path = recipe("variables:", NOTHING)
    assert run(["config", "check", str(path)]) == 0
    capsys.readouterr()
    assert run(["config", "check", str(path), "--run", str(source)]) == 3
    text, words = capsys.readouterr()
    assert "filter bright" in text
    assert table_of(words)["ipm2/sum > 1e9"] == (0, 0)


def test_check_of_runs_and_files_that_are_not_there(recipe, tmp_path, capsys):
    nothing = str(tmp_path / "nothing")
    assert run(["config", "check", str(recipe.path), "--run", nothing]) == 1
    assert run(["config", "check", nothing]) == 2
    assert "nothing" in capsys.readouterr().err


def referred(schema, part):
    """The part of a schema that another part refers to, if it does."""
    place = part.get("$ref")
    if place is None:
        return part
    head, *keys = place.split("/")
    assert head == "#"
    for key in keys:
        schema = schema[key]
    return schema


def objects_of(schema, part):
    """Every object among the choices for a value."""
    part = referred(schema, part)
    for choice in part.get("anyOf", part.get("oneOf", [])):
        yield from objects_of(schema, choice)
    if "properties" in part or "additionalProperties" in part:
        yield part


def check_keys(schema, part, values, key=""):
    """Assert that a schema knows every key of a recipe."""
    choices = list(objects_of(schema, part))
    if not isinstance(values, dict) or not choices:
        return
    for name, value in values.items():
        more = [
            c["properties"][name] if name in c.get("properties", {})
            else c["additionalProperties"]
            for c in choices
            if name in c.get("properties", {})
            or isinstance(c.get("additionalProperties"), dict)
        ]  # fmt: skip
        assert more, f"{key}.{name}"
        for each in more:
            check_keys(schema, each, value, f"{key}.{name}")


def test_schema_knows_the_keys_of_recipes(capsys):
    assert run(["config", "schema", "cube"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == xf.CubeRecipe.json_schema()
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert "schema_version" in schema["required"]
    assert set(schema["properties"]) == {
        "schema_version", "kind", "bins", "delay", "laser", "laser_variable", "filters",
        "require_detectors", "variables", "detectors", "quantities", "histograms",
        "execution", "output", "pulse_values",
    }  # fmt: skip
    check_keys(schema, schema, yaml.safe_load(RECIPE))
    wrong = yaml.safe_load(RECIPE.replace("stop:", "stpo:"))
    with pytest.raises(AssertionError, match=r"bins\.delay\.stpo"):
        check_keys(schema, schema, wrong)


def test_schema_of_an_unknown_kind_exits_with_2(capsys):
    assert run(["config", "schema", "cubes"]) == 2
    assert "'cube'" in capsys.readouterr().err
