"""The page about dark constants."""

import re

import numpy as np
import pytest
import xarray as xr

from xfelred import masks, ops
from xfelred.errors import OutputExistsError
from xfelred.products.dark_report import dark_report, mosaic, write_dark_report

pytestmark = pytest.mark.slow

DIMS = ("train", "module", "slow_scan", "fast_scan")


@pytest.fixture
def constants():
    rng = np.random.default_rng(0)
    raw = rng.normal(4000, 3, (20, 3, 16, 24)).round().astype("u2")
    raw[:, 1, 2, 3] += 900
    raw[:, 1, 4, 5] = 7
    da = xr.DataArray(
        raw, dims=DIMS, coords={"module": [0, 4, 9]},
        attrs={"units": "adu", "detector": "<i>AGIPD & co</i>", "history": "<u>x</u>"},
    )  # fmt: skip
    return ops.dark_statistics({0: da, 2: da + np.uint16(50)}).compute()


def test_page_names_what_there_is_and_nothing_else(constants):
    text = dark_report(constants, title="<b>dark</b>")
    assert "<b>dark" not in text
    assert "<i>" not in text
    assert "<u>" not in text
    assert "&lt;i&gt;AGIPD &amp; co&lt;/i&gt;" in text
    for forbidden in ("<script", "http:", "https:", "<link", "@import", "url("):
        assert forbidden not in text
    assert text.count("data:image/png;base64,") == 3
    for i in range(3):
        assert f"Gain range {i}" in text
    bad = constants.bad_pixels.values
    for name, bit in masks.names.items():
        n = [int(((one & bit) != 0).sum()) for one in bad]
        row = re.search(rf"<td>{name}</td>((?:\s*<td[^>]*>\d+</td>)+)", text)
        assert (row is not None) == any(n)
        if row:
            found = re.findall(r">(\d+)<", row.group(1))
            assert found == [str(one) for one in n]
    share = f"{100 * (bad[0, 1] != 0).mean():.3g} %"
    assert share in text


def test_a_page_is_replaced_only_when_told(tmp_path):
    da = xr.DataArray(np.ones((3, 4, 6)), dims=("train", *DIMS[2:]))
    constants = ops.dark_statistics(da).compute()
    path = tmp_path / "page.html"
    write_dark_report(constants, path, title="dark")
    with pytest.raises(OutputExistsError):
        write_dark_report(constants, path, title="dark")
    write_dark_report(constants, path, title="other", overwrite=True)
    assert "<h1>other</h1>" in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


def test_page_of_nothing_but_bad_pixels():
    da = xr.DataArray(np.full((3, 4, 6), np.nan), dims=("train", *DIMS[2:]))
    text = dark_report(ops.dark_statistics(da))
    assert "100 %" in text
    assert "NO_DARK_DATA" in text


@pytest.mark.parametrize("n", [1, 2, 3, 8, 16])
def test_every_module_is_in_the_mosaic(n):
    values = np.arange(n * 6 * 4, dtype=float).reshape(n, 6, 4)
    image = mosaic(xr.DataArray(values, dims=DIMS[1:]))
    found = np.sort(image[~np.isnan(image)])
    np.testing.assert_array_equal(found, values.ravel())
