"""The page about a run: what it says is what the files say."""

import re

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import synth
from xfelred.cli.main import run as command
from xfelred.products.run_report import curve_row, roughness

XGM = "SA1_XTD2_XGM/DOOCS/MAIN"


@pytest.fixture(scope="module")
def euxfel(tmp_path_factory):
    place = tmp_path_factory.mktemp("euxfel")
    synth.euxfel.write_run(place, n_trains=12, modules=[0, 3], pulses=2, seed=3)
    return place


@pytest.fixture(scope="module")
def page(euxfel):
    return xf.report(xf.open_run(euxfel), trains=5)


def rows_of(html):
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    cells = [re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL) for row in found]
    return {row[0]: row[1:] for row in cells if row}


def test_page_tells_what_the_files_hold(euxfel, page):
    rows = rows_of(page.html)
    run = xf.open_run(euxfel)
    assert rows["facility"] == ["euxfel"]
    assert rows["trains or shots"] == [f"12, {run.train_ids[0]} to {run.train_ids[-1]}"]
    assert rows["detectors"] == [str(next(iter(run.detectors)))]
    flux = run[XGM, "pulseEnergy.photonFlux"].ndarray().astype(float)
    recorded, low, middle, high, unit, _ = rows[f"{XGM} pulseEnergy.photonFlux"]
    assert recorded == "12 of 12"
    assert unit == "μJ"
    wanted = (flux.min(), np.median(flux), flux.max())
    np.testing.assert_allclose([float(v) for v in (low, middle, high)], wanted, 1e-5)
    assert "Pictures are of 5 of 12 trains." in page.html
    assert page.html.count("<img") == 4
    assert "<script" not in page.html


def test_what_was_moved_stands_before_what_fluctuates(page):
    names = list(rows_of(page.html))
    motor = next(i for i, n in enumerate(names) if n.startswith("SPB_IRU_SAMPLE"))
    assert motor < names.index("SPB_LAS_PPL/MDL/SHUTTER isOpen")
    assert roughness(np.arange(9.0)) < roughness(np.array([0, 1.0] * 5))


def test_page_of_other_facilities(tmp_path):
    synth.sacla.write_run(tmp_path / "run.h5", n_images=6, shape=(16, 16), seed=1)
    synth.lcls.write_smalldata(tmp_path / "small.h5", n_events=60, seed=1)
    synth.lcls.write_suite(tmp_path / "suite.h5", seed=1)
    files = (("run.h5", "MPCCD"), ("small.h5", "jungfrau1M"), ("suite.h5", "epix"))
    for path, name in files:
        made = xf.report(xf.open_run(tmp_path / path), trains=None)
        assert name in made.html
        assert "Not read" not in made.html
        assert "Pictures are of all trains." in made.html


def test_images_are_assembled_where_a_geometry_is_given(tmp_path, euxfel):
    run = xf.open_run(euxfel)
    name = next(iter(run.detectors))
    corners = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
    panels = xf.geometry.Geometry.from_quad_positions("AGIPD1M", corners)
    made = xf.report(run, trains=1, geometry={name: panels})
    assert made.html.count("<img") == 3  # one train
    with pytest.raises(xf.errors.ArgumentError, match="geometry of 'NOT'"):
        xf.report(run, geometry={"NOT": panels})


def test_what_cannot_be_read_is_named_and_the_rest_is_told(tmp_path):
    synth.euxfel.write_run(tmp_path, n_trains=6, modules=[0, 3], pulses=2, seed=3)
    for file in tmp_path.glob("*AGIPD03*"):
        with h5py.File(file, "r+") as f:
            path = next(k for k in tables(f) if k.endswith("image/data"))
            offset = f[path].id.get_offset() or f[path].id.get_chunk_info(0).byte_offset
        with open(file, "r+b") as f:
            f.truncate(offset)
    with pytest.warns(UserWarning, match="left out"):
        run = xf.open_run(tmp_path)
    made = xf.report(run)
    assert not made.check.ok
    assert "AGIPD03" in made.html
    assert f"{XGM} pulseEnergy.photonFlux" in made.html


def tables(file):
    found = []
    file.visit(found.append)
    return found


def test_names_of_a_file_are_text(tmp_path):
    path = tmp_path / "small.h5"
    synth.lcls.write_smalldata(path, n_events=60, seed=1)
    with h5py.File(path, "r+") as file:
        file["evr/<script>alert(1)<"] = np.arange(60.0)
    html = xf.report(xf.open_run(path), trains=1).html
    assert "&lt;script&gt;alert(1)&lt;" in html
    assert "<script" not in html


def test_a_run_without_trains_has_a_page(euxfel):
    made = xf.report(xf.open_run(euxfel).select_trains([]))
    assert "There are no frames." in made.html or "Not read" in made.html


def test_trains_are_a_number_from_one(euxfel):
    with pytest.raises(xf.errors.ArgumentError, match="trains=0"):
        xf.report(xf.open_run(euxfel), trains=0)


def test_a_page_is_written_under_the_name_of_a_page(page, tmp_path):
    with pytest.raises(xf.errors.ArgumentError, match=r"run\.pdf\.html"):
        page.write(tmp_path / "run.pdf")
    assert not list(tmp_path.iterdir())


def test_notebook_shows_a_frame(page):
    shown = page._repr_html_()
    assert shown.startswith("<iframe")
    assert "<style" not in shown  # escaped


def test_command_writes_the_page_once(euxfel, tmp_path, capsys):
    path = tmp_path / "run.html"
    arguments = ["report", str(euxfel), "-o", str(path), "--trains", "2"]
    assert command(arguments) == 0
    assert capsys.readouterr().out.strip() == str(path)
    before = path.read_text()
    assert command(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text() == before
    assert command([*arguments, "--overwrite", "--json"]) == 0
    assert command([*arguments[:-1], "some"]) == 2
    assert command([*arguments, "--geometry", "file.geom"]) == 2


def test_curves_keep_their_places_where_trains_are_missing(tmp_path):
    synth.lcls.write_smalldata(tmp_path / "a.h5", n_events=40, seed=1)
    run = xf.open_run(tmp_path / "a.h5")
    ids = run.train_ids
    some = xr.DataArray(
        [0.0, 1.0],
        {"train": [ids[0], ids[len(ids) // 2]]},
        "train",
        attrs={"units": ""},
    )
    points = curve_row("a", some, run)["points"].split()
    first, last = (p.split(",")[0] for p in points)
    assert float(first) == 1
    assert 75 < float(last) < 90
