"""The page about a cube: right numbers, nothing from outside, readable everywhere."""

import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.errors import OutputExistsError
from xfelred.ops.cuts import parse_cuts
from xfelred.ops.shots.select_shots import cut_flow
from xfelred.products.cube_report import (
    CubeReport,
    DetectorReport,
    cube_report,
    write_report,
)
from xfelred.products.report_histograms import (
    ShotState,
    counted,
    edges_of,
    pixel_histogram,
)
from xfelred.recipes.cube import cube_plan
from xfelred.recipes.report import N_SHOTS, batches, report
from xfelred.synth.lcls import write_smalldata

pytestmark = pytest.mark.slow

HOSTILE = '<script>alert("1")</script>&\'{{ 7*7 }}{% raw %}$\\frac{x$ \u4e2d'
VOID = {"meta", "img", "br", "link"}
RECIPE = """
schema_version: 1
kind: cube
bins: {delay: {start: -2, stop: 4, step: 0.5}}
laser: split
filters:
  filter1: [lightStatus/xray == 1, 300 < ipm2/sum < 6000, 0.02 < tt/AMPL < 0.12]
variables: [ipm2/sum]
detectors: {jungfrau1M: {threshold: 1.5, skipna: true}}
"""
HISTOGRAMS = "histograms: {ipm2/sum: [0, 10000, 70], tt/AMPL: null, ipm3/sum: null}"


class Page(HTMLParser):
    """Checks that tags are closed; collects tables, headings, pictures, references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.outside = [], [], []
        self.tables, self.headings, self.words = [], [], ""
        self.n_pictures = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{name} of {tag} would run code"
            if name in ("src", "href", "srcset", "data", "action"):
                inline = (value or "").startswith("data:image/png;base64,")
                self.n_pictures += inline
                self.outside += [] if inline else [value]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1:]
        if inside == ["style"]:
            assert "url(" not in data
            assert "@import" not in data
            return
        self.words += data
        if inside in (["td"], ["th"]):
            self.tables[-1][-1][-1] += data
        if inside in (["h1"], ["h2"], ["h3"]):
            self.headings.append(" ".join(data.split()))

    def table(self, head):
        """The table whose first column is called so."""
        return next(t for t in self.tables if t and t[0][:1] == [head])


def checked(text):
    page = Page(text)
    assert page.outside == []
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {*page.tags}
    return page


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "xpptest01_Run0047.h5"
    return path, write_smalldata(path, n_events=400)


@pytest.fixture(scope="module")
def whole_page(run_file, tmp_path_factory):
    """Plan, cube and file of the page about a simulated run."""
    plan = cube_plan(
        xf.open_run(run_file[0]), xf.CubeRecipe.from_text(RECIPE + HISTOGRAMS, "a.yaml")
    )
    cube = xf.make_cube(plan.run, plan.recipe).compute()
    path = report(plan, cube, tmp_path_factory.mktemp("page") / "cube.html")
    return plan, cube, path


def state_of(ds, cuts=(), name="all", mine=None):
    cuts = parse_cuts(list(cuts))
    if mine is None:
        mine = xr.ones_like(ds["a"], bool)
    return ShotState(name, mine, cuts, cut_flow(ds, cuts)[1])


def small_cube(*shape, name="x"):
    dims = [f"{name}{i}" for i in range(len(shape))]
    shots = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    coords = {d: (d, np.arange(n) + 0.5) for d, n in zip(dims, shape, strict=True)}
    coords |= {f"{d}_edges": (f"{d}_edge", np.arange(n + 1.0))
               for d, n in zip(dims, shape, strict=True)}  # fmt: skip
    return xr.Dataset({"n_shots": (dims, shots)}, coords)


# -- the page about a run --------------------------------------------------------------


def test_page_has_all_sections_and_needs_nothing_else(whole_page):
    page = checked(whole_page[2].read_text(encoding="utf-8"))
    heads = ["Cube of xpptest01_Run0047", "Run and recipe", "Cuts", "Shots per bin",
             "Lost and outside", "Values of the shots", "ipm2/sum", "tt/AMPL",
             "ipm3/sum", "Detector jungfrau1M", "Provenance"]  # fmt: skip
    places = [page.headings.index(h) for h in heads]
    assert places == sorted(places)
    assert page.n_pictures == 1 + 3 + 3 + 1  # bins, histograms, means, pixels
    for word in ("a.yaml", "scan/lxt + tt/ttCorr", "start -2", "threshold: 1.5",
                 "source_fingerprint", "make_cube {", "on - off"):  # fmt: skip
        assert word in page.words


def test_tables_have_the_numbers_of_the_cube(whole_page, run_file):
    plan, cube, path = whole_page
    page = checked(path.read_text(encoding="utf-8"))
    flows = [t for t in page.tables if t[0] == ["cut", "alone", "cumulative", "left"]]
    assert len(flows) == 2
    for table, flow in zip(flows, plan.shots.flows.values(), strict=True):
        shown = [(row[0], int(row[1]), int(row[2])) for row in table[1:]]
        assert shown == flow.rows
    bins = page.table("delay (ps) from")
    edges = cube["delay_edges"].values
    np.testing.assert_allclose([float(r[0]) for r in bins[1:]], edges[:-1], atol=1e-5)
    shown = np.array([[int(v) for v in row[2:]] for row in bins[1:]]).T
    np.testing.assert_array_equal(shown, cube["n_shots"].values)
    lost = {row[0]: [int(v) for v in row[1:]] for row in page.table("shots")[1:]}
    truth = run_file[1]
    n_on = int(truth.laser_on.sum())
    assert lost["shots of the run"] == [n_on, 400 - n_on, 400]
    assert lost["in no bin"][2] == cube.attrs["n_outside"] > 0
    inside = cube["n_shots"].sum("delay").values.tolist()
    assert lost["in the cube"] == [*inside, sum(inside)]
    for column in range(3):
        passing, out, within = (
            lost[k][column] for k in ("pass the cuts", "in no bin", "in the cube")
        )
        assert passing == out + within


def test_detector_that_is_missing_in_some_shots_is_counted(run_file, tmp_path):
    recipe = xf.CubeRecipe.from_text(RECIPE + "require_detectors: false\n")
    plan = cube_plan(xf.open_run(run_file[0]), recipe)
    cube = xf.make_cube(plan.run, recipe).compute()
    page = checked(report(plan, cube, tmp_path / "a.html").read_text())
    lost = {row[0]: row[1:] for row in page.table("shots")[1:]}
    gone = cube["n_shots"] - cube["jungfrau1M_shots"]
    assert int(gone.sum()) > 0
    expected = [*gone.sum("delay").values.tolist(), int(gone.sum())]
    assert lost["in the cube without jungfrau1M"] == [str(n) for n in expected]


def test_page_is_not_replaced_unless_wanted(tmp_path):
    ds = xr.Dataset({"a": ("train", np.arange(5))})
    page = CubeReport("t", [], "", [state_of(ds)], ds, {}, small_cube(1))
    path = tmp_path / "a.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_report(path, page)
    assert path.read_text() == "mine"
    write_report(path, page, overwrite=True)
    assert "<h1>" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "more",
    [
        {"laser": "all", "bins": {}},
        pytest.param(
            {"laser": "on", "quantities": ["mean"]}, marks=pytest.mark.nightly
        ),
        pytest.param(
            {"laser": "off", "quantities": ["var"]}, marks=pytest.mark.nightly
        ),
        {"bins": {"delay": {"edges": [-2, 0, 4]}, "ipm2/sum": {"quantiles": 3}}},
        {"bins": {"delay": {"unique": True}}, "output": {"compat": True}},
        {"detectors": {"jungfrau1M": {"image": True, "threshold": {"noise": 3}}}},
        pytest.param(
            {"detectors": {"jungfrau1M": {"threshold": {"low": 1, "high": 9}}}},
            marks=pytest.mark.nightly,
        ),
        {"detectors": {}, "variables": []},
    ],
    ids=str,
)
def test_every_kind_of_recipe_has_its_page(run_file, tmp_path, more):
    recipe = xf.CubeRecipe.from_dict(
        {**xf.CubeRecipe.from_text(RECIPE).to_dict(), **more}
    )
    plan = cube_plan(xf.open_run(run_file[0]), recipe)
    cube = xf.make_cube(plan.run, recipe)
    page = checked(report(plan, cube, tmp_path / "a.html").read_text())
    n_bins = max(len(recipe.model.bins), 1)
    tables = [t for t in page.tables if t[0][1:2] == ["to"] or t[0][:1] == ["bin"]]
    assert len(tables) == n_bins
    n_states = 2 if recipe.model.laser == "split" else 1
    total = int(cube["n_shots"].fillna(0).sum())
    for table in tables:
        cells = np.array([[int(v) for v in row[-n_states:]] for row in table[1:]])
        assert cells.sum() == total


def test_hostile_names_of_run_and_recipe_are_only_text(run_file, tmp_path):
    run = xf.open_run(run_file[0])
    name = HOSTILE.replace("/", "")
    recipe = xf.CubeRecipe.from_dict({
        "schema_version": 1, "kind": "cube", "filters": {"f": ["ipm2/sum > 0"]},
        "detectors": {name: {}}, "bins": {HOSTILE: {"variable": "ipm2/sum", "n": 2,
                                                    "range": [0, 6000]}},
    })  # fmt: skip
    frames = {name: run.frames("jungfrau1M").assign_attrs(units=HOSTILE)}
    plan = cube_plan(run, recipe, frames=frames)
    cube = xf.make_cube(run, recipe, frames=frames)
    path = report(plan, cube, tmp_path / "a.html", frames=frames)
    page = checked(path.read_text(encoding="utf-8"))
    assert f"Detector {name}" in page.headings
    assert "49" not in page.words.replace("2049", "")[:300]


# -- parts of the page -----------------------------------------------------------------


def test_hostile_text_in_every_place(tmp_path):
    n = 20
    ds = xr.Dataset({"a": ("train", np.arange(n)), HOSTILE: ("train", np.arange(n))})
    ds[HOSTILE].attrs["units"] = HOSTILE
    cube = small_cube(3, name=HOSTILE).assign_attrs(
        history=HOSTILE, run_id=HOSTILE, source_fingerprint=HOSTILE
    )
    image = xr.DataArray(np.eye(4), dims=("y", "x"), attrs={"units": HOSTILE})
    one = DetectorReport(
        HOSTILE, {HOSTILE: image}, pixel_histogram([np.eye(4)], {HOSTILE: 0.5}),
        [(HOSTILE, HOSTILE)], HOSTILE,
    )  # fmt: skip
    state = ShotState(HOSTILE, xr.ones_like(ds["a"], bool), (), state_of(ds).flow)
    state.flow.rows.append((HOSTILE, 3, 2))
    page = CubeReport(
        HOSTILE,
        [(HOSTILE, HOSTILE)],
        HOSTILE,
        [state],
        ds,
        {HOSTILE: None},
        cube,
        [one],
    )
    found = checked(cube_report(page))
    assert found.headings[0] == " ".join(HOSTILE.split())
    assert found.words.count('alert("1")') >= 12
    path = tmp_path / "a.html"
    assert write_report(path, page) == path


@pytest.mark.parametrize("name", ["a", "b", "free"])
def test_histogram_is_that_of_a_loop(name):
    rng = np.random.default_rng(3)
    n = 300
    ds = xr.Dataset({k: ("train", rng.normal(size=n)) for k in ("a", "b", "free")})
    ds["a"][:7] = np.nan
    ds["b"][5:9] = np.inf
    mine = xr.DataArray(rng.random(n) < 0.6, dims="train")
    state = state_of(ds, [("a", -1, 1), "b < 0.5", "a != 0"], "on", mine)
    edges = edges_of(ds[name].values, (-2, 2, 16))
    found = counted(ds, name, state, edges)
    every, others = np.zeros(16, int), np.zeros(16, int)
    n_mine = lost = outside = n_others = bad = bad_others = 0
    for i in range(n):
        if not mine[i]:
            continue
        n_mine += 1
        v = {k: float(ds[k][i]) for k in ds}
        passes = {"a": -1 < v["a"] < 1 and v["a"] != 0, "b": v["b"] < 0.5, "free": True}
        other = all(p for k, p in passes.items() if k != name)
        n_others += other
        bad += not passes[name]
        bad_others += other and not passes[name]
        if not np.isfinite(v[name]):
            lost += 1
        elif not -2 <= v[name] <= 2:
            outside += 1
        else:
            at = min(int((v[name] + 2) / 0.25), 15)
            every[at] += 1
            others[at] += other
    np.testing.assert_array_equal(found.every, every)
    np.testing.assert_array_equal(found.others, others)
    assert (found.n_lost, found.n_outside) == (lost, outside)
    if name == "free":
        assert found.rejected is None
    else:
        assert found.rejected == pytest.approx((bad / n_mine, bad_others / n_others))


def test_edges_of_a_histogram():
    np.testing.assert_allclose(edges_of(np.zeros(0), (0, 10, 4)), [0, 2.5, 5, 7.5, 10])
    values = np.r_[np.arange(1001.0), np.nan, np.inf]
    found = edges_of(values, None)
    np.testing.assert_allclose(found[[0, -1]], [0.1, 999])
    assert len(found) == 61
    for odd in (np.full(4, 3.0), np.full(2, np.nan), np.zeros(0)):
        assert (np.diff(edges_of(odd, None)) > 0).all()


def test_every_pixel_is_counted_once():
    rng = np.random.default_rng(5)
    whole = rng.normal(size=(40, 11, 7)).astype(np.float32)
    whole[3, 2, 1], whole[9, 0, 0] = np.nan, 1e9
    parts = [whole[:10], whole[10:11], whole[11:]]
    found = pixel_histogram(iter(parts), {"threshold": 0.5}, (0.5, None))
    assert found.n_shots == 40
    assert found.n_lost == 1
    assert found.counts.sum() == whole.size - 1
    known = whole[np.isfinite(whole)]
    assert found.below == pytest.approx((known < 0.5).mean())
    inner = slice(1, -1)
    expected = np.histogram(known, found.edges)[0]
    np.testing.assert_array_equal(found.counts[inner], expected[inner])
    assert found.edges[0] <= 0.5 <= found.edges[-1]
    assert pixel_histogram([]) is None
    assert pixel_histogram([np.full((2, 3), np.nan)]) is None


def test_bins_of_integers_hold_equally_many_values():
    values = np.random.default_rng(0).integers(0, 900, (3, 4000)).astype(np.uint16)
    found = pixel_histogram([values])
    assert {*np.diff(found.edges)} == {np.diff(found.edges)[0]}
    assert np.diff(found.edges)[0] % 1 == 0
    assert found.edges[0] % 1 == 0.5


@pytest.mark.parametrize("n_pulses", [1, 4, 40])
def test_pixels_are_of_shots_that_pass_and_are_there(n_pulses):
    n, shape = 600, (2, 3, 4)
    shot = np.arange(n * n_pulses).reshape(n, n_pulses)
    values = np.broadcast_to(shot[..., None, None, None], (n, n_pulses, *shape))
    dims = ("train", "pulse", "module", "slow_scan", "fast_scan")
    rng = np.random.default_rng(n_pulses)
    here = rng.random((n, 2)) < 0.9
    frames = xr.DataArray(
        values.astype(float), dims=dims,
        coords={"train": np.arange(n) + 50, "available": (("train", "module"), here)},
    ).chunk(train=100)  # fmt: skip
    passing = rng.random(n + 100) < 0.5
    where = xr.DataArray(passing, {"train": np.arange(n + 100)}, "train")
    bad = xr.DataArray(np.zeros(shape, bool), dims=dims[2:])
    bad[1, 0, 2] = True
    found = np.concatenate(list(batches(frames, where, bad)))
    assert found.shape[1] == 2 * 3 * 4 - 1
    trains = (found[:, 0] // n_pulses).astype(int)
    assert passing[trains + 50].all()
    assert here[trains].any(axis=1).all()
    assert len(np.unique(found[:, 0])) == len(found)
    assert N_SHOTS <= len(found) <= 2 * N_SHOTS
    assert trains.max() - trains.min() > 500


def test_no_shots_no_pixels():
    ids = {"train": [1, 2, 3]}
    frames = xr.DataArray(np.zeros((3, 2, 2)), ids, ("train", "slow_scan", "fast_scan"))
    where = xr.DataArray(np.zeros(3, bool), ids, dims="train")
    assert list(batches(frames, where, None)) == []


@pytest.mark.parametrize("shape", [(1,), (1500,), (3, 4), (2, 3, 2)])
def test_axes_of_any_number_and_length(shape):
    ds = xr.Dataset({"a": ("train", np.arange(5))})
    cube = small_cube(*shape)
    page = CubeReport("t", [], "", [state_of(ds)], ds, {}, cube)
    found = checked(cube_report(page))
    tables = [t for t in found.tables if t and t[0][1:2] == ["to"]]
    assert [len(t) - 1 for t in tables] == [min(n, 1000) for n in shape]
    if len(shape) == 2:
        sums = [int(row[2]) for row in tables[1][1:]]
        assert sums == cube["n_shots"].sum("x0").values.tolist()
        assert "Added up over x0." in found.words
    assert found.n_pictures == len(shape) + (len(shape) == 2)


# -- a real browser --------------------------------------------------------------------


MEASURING = """<body><script>function measure() {{
  const page = document.querySelector("iframe").contentDocument;
  const pictures = [...page.images], root = page.documentElement;
  const good = pictures.filter(
    i => i.complete && i.naturalWidth > 100 && i.width <= root.clientWidth);
  document.body.dataset.found =
    [root.clientWidth, root.scrollWidth, good.length, pictures.length].join();
}}</script><iframe onload="measure()"
style="border: 0; width: {width}px; height: 9999px"
srcdoc="{page}"></iframe></body>"""


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium here: the page is not looked at")
    return found


def shown(browser, page, place, width, *more):
    """Output of chromium for a page in a window of some width."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={place}", f"--window-size={width},4000"]  # fmt: skip
    done = subprocess.run(
        [browser, *options, *more, page.as_uri()],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("width", [1280, 390])
def test_browser_shows_the_page_without_scrolling_sideways(
    browser, whole_page, tmp_path, width
):
    from matplotlib.image import imread

    path = whole_page[2]
    picture = tmp_path / "page.png"
    shown(browser, path, tmp_path / "a", width, f"--screenshot={picture}")
    pixels = imread(picture)
    assert pixels.shape[1] == width
    # There is ink in every stretch of the page, down to the histograms at least.
    ink = (pixels[..., :3].min(axis=-1) < 0.9).any(axis=1)
    assert all(ink[at : at + 200].any() for at in range(0, 2400, 200))
    # The page itself has no script; one around it measures, in a frame so wide.
    measuring = tmp_path / "measuring.html"
    measuring.write_text(
        MEASURING.format(width=width, page=escape(path.read_text("utf-8"))), "utf-8"
    )
    dom = shown(browser, measuring, tmp_path / "b", 1500, "--dump-dom")
    found = re.search(r'data-found="([\d,]+)"', dom)
    inner, needed, n_good, n_pictures = map(int, found.group(1).split(","))
    assert inner == width
    assert needed <= width
    assert n_good == n_pictures > 0
