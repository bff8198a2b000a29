import numpy as np
import pytest

import xfelred as xf
from xfelred import CubeRecipe

GOOD = """\
schema_version: 1
kind: cube
bins:
  delay: {start: "-5 ps", stop: "50 ps", step: "0.2 ps"}
  ipm2/sum: {edges: [300, 3000, 6000]}
laser: split
filters:
  filter1: ["lightStatus/xray == 1", "300 < ipm2/sum < 60000"]
  custom: [["evr/code_41", 0.5, 1.5]]
variables: [ipm2/sum, diodeU/channels]
detectors:
  jungfrau1M:
    key: calib
    common_mode: {groups: [row], segment: jungfrau, max_correction: 10}
    threshold: 6.5
    det_proc:
      - {function: roi, name: ROI_0, bounds: [[0, 1], [5, 25], [10, 40]]}
      - {function: azimuthal, centre: [0.001, 0.002], distance: 0.06, energy: 9500,
         q_step: 0.01, n_phi: 3}
histograms: {ipm2/sum: [0, 50000, 70], tt/AMPL: null}
output: {formats: [zarr, lcls_h5]}
"""


def test_a_recipe_comes_back_from_its_own_text():
    recipe = CubeRecipe.from_text(GOOD, "cube.yaml")
    again = CubeRecipe.from_text(recipe.to_yaml())
    assert again == recipe
    assert again.sha256 == recipe.sha256
    assert CubeRecipe.from_dict(recipe.to_dict()) == recipe
    assert list(recipe.bins) == ["delay", "ipm2/sum"]
    assert len(recipe.bins["delay"].resolve()) == 275


def test_defaults():
    recipe = CubeRecipe.from_text("schema_version: 1\nkind: cube\n")
    model = recipe.model
    assert (model.laser, model.execution.block_trains) == ("all", 200)
    assert model.output.formats == ["zarr"]
    assert model.quantities == ["sum", "count", "mean", "var", "sem"]
    assert recipe.filter_name(None) == "filter1"


@pytest.mark.parametrize(
    ("word", "state"), [("on", "on"), ("off", "off"), ("'on'", "on")]
)
def test_laser_takes_the_booleans_that_yaml_makes_of_on_and_off(word, state):
    recipe = CubeRecipe.from_text(f"schema_version: 1\nkind: cube\nlaser: {word}")
    assert recipe.model.laser == state


def test_times_have_units():
    bins = '{delay: {edges: ["-500 fs", 0, 1, "2e-3 ns"]}}'
    text = f"schema_version: 1\nkind: cube\nbins: {bins}"
    edges = CubeRecipe.from_text(text).bins["delay"].resolve().edges
    np.testing.assert_allclose(edges, [-0.5, 0, 1, 2])


def test_toml_has_the_same_keys():
    text = """
schema_version = 1
kind = "cube"
[bins.delay]
start = -1
stop = 2
step = "500 fs"
"""
    recipe = CubeRecipe.from_text(text, "cube.toml")
    np.testing.assert_allclose(
        recipe.bins["delay"].resolve().edges, np.arange(-1, 2.1, 0.5)
    )
    with pytest.raises(xf.ConfigError, match=r"cube.toml line 6, bins.delay.stop: -2"):
        CubeRecipe.from_text(text.replace("stop = 2", "stop = -2"), "cube.toml")


def test_a_file(tmp_path):
    path = tmp_path / "cube.yaml"
    path.write_text(GOOD)
    assert CubeRecipe.from_file(path) == CubeRecipe.from_text(GOOD)
    with pytest.raises(FileNotFoundError):
        CubeRecipe.from_file(tmp_path / "other.yaml")
    with pytest.raises(xf.ConfigError, match="is a directory") as caught:
        CubeRecipe.from_file(tmp_path)
    assert caught.value.path == str(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ('"50 ps"', '"-50 ps"', 4, "bins.delay.stop", "-50 ps is before start -5 ps"),
        ('"0.2 ps"', '"0.2 px"', 4, "bins.delay.step", "units are fs, ps"),
        ('"0.2 ps"', "0", 4, "bins.delay.step", "makes no bin"),
        ('"0.2 ps"', '"-0.2 ps"', 4, "bins.delay.step", "makes no bin"),
        ('"0.2 ps"', "true", 4, "bins.delay.step", "must be a number, not true"),
        ("edges: [300, 3000, 6000]", "quantiles: [0, 50, 200]", 5, "bins.ipm2/sum",
         "0 to 100"),
        ("edges: [300, 3000, 6000]", "quantiles: 0", 5, "bins.ipm2/sum",
         "makes no bins"),
        ('"0.2 ps"', '"1e-12 fs"', 4, "bins.delay", "bins are too many"),
        ("edges: [300", "edgs: [300", 5, "bins.ipm2/sum.edgs", "'edges'"),
        ("[300, 3000", "[3000, 300", 5, "bins.ipm2/sum", "must rise"),
        ("edges: [300", 'edges: ["3 ps"', 5, "bins.ipm2/sum.edges", "has a unit"),
        ("laser: split", "laser: both", 6, "laser", "'split', 'on', 'off' or 'all'"),
        ("laser: split", "lasr: split", 6, "lasr", "Did you mean 'laser'"),
        ("300 < ipm2/sum < 60000", "300 < ipm2/sum > 6", 8, "filters.filter1.1",
         "two directions"),
        ("key: calib", "kee: calib", 13, "detectors.jungfrau1M.kee", "'key'"),
        ("segment: jungfrau, ", "", 14, "detectors.jungfrau1M.common_mode", "missing"),
        ("threshold: 6.5", "threshold: {low: x}", 15, "detectors.jungfrau1M.threshold",
         "number"),
        ("bounds:", "bound:", 17, "detectors.jungfrau1M.det_proc.0.bound", "'bounds'"),
        ("name: ROI_0", "name: azav", 16, "detectors.jungfrau1M.det_proc", "twice"),
        ("q_step: 0.01", "q_step: -1", 18, "detectors.jungfrau1M.det_proc.1.q_step",
         "greater than 0"),
        ("[0, 50000, 70]", "[5, 0, 70]", 20, "histograms.ipm2/sum", "low < high"),
        ("formats: [zarr", "formats: [zar", 21, "output.formats.0", "'zarr'"),
        ("lcls_h5]", "zarr]", 21, "output.formats.1", "'zarr' is there twice"),
        ("{groups: [row], segment: jungfrau, max_correction: 10}", "12345", 14,
         "detectors.jungfrau1M.common_mode", "no common mode 12345"),
        ("{groups: [row], segment: jungfrau, max_correction: 10}", "[7, 3]", 14,
         "detectors.jungfrau1M.common_mode", "wanted (7"),
        ("[row]", "[row, colum]", 14, "detectors.jungfrau1M.common_mode.groups.1",
         "'column'"),
        ("segment: jungfrau", "segment: jungfrow", 14,
         "detectors.jungfrau1M.common_mode.segment", "'jungfrau'"),
        ("threshold: 6.5", "threshold: {low: 6, high: 1}", 15,
         "detectors.jungfrau1M.threshold", "low 6 is not below high 1"),
        ("key: calib", "calibrate: jungfru", 13, "detectors.jungfrau1M.calibrate",
         "'jungfrau'"),
        ("[5, 25]", "[25, 5]", 17, "detectors.jungfrau1M.det_proc.0.bounds",
         "must rise"),
        ("[5, 25]", "[-5, 0]", 17, "detectors.jungfrau1M.det_proc.0.bounds",
         "no pixel"),
        ("custom:", '"a/../b":', 9, "filters.a/../b", "cannot name a filter"),
        ("custom:", "all:", 9, "filters.all", "cannot name a filter"),
        ("custom:", '"":', 9, "filters", "cannot name a filter"),
        ("300 < ipm2/sum < 60000", "ipm2/sum == nan", 8, "filters.filter1.1",
         "compares with nan"),
        ("kind: cube", "kind: cubes", 2, "kind", "no cube recipe"),
        ("schema_version: 1", "schema_version: 2", 1, "schema_version", "should be 1"),
    ],
)  # fmt: skip
def test_a_mistake_names_line_key_and_cause(old, new, line, key, words):
    assert GOOD.count(old) >= 1
    with pytest.raises(xf.ConfigError) as caught:
        CubeRecipe.from_text(GOOD.replace(old, new, 1), "cube.yaml")
    error = caught.value
    assert error.path == "cube.yaml"
    assert error.key.startswith(key)
    assert abs(error.line - line) <= 1  # of the key, or of a value below it
    assert words in str(error)
    assert str(error).startswith(f"cube.yaml line {error.line}, {error.key}: ")


def test_a_wrong_unit_is_guessed():
    text = GOOD.replace('"-5 ps"', '"1 ps"').replace('"50 ps"', '"50 fs"')
    with pytest.raises(xf.ConfigError, match='did you mean stop: "50 ps"'):
        CubeRecipe.from_text(text)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("x: !!python/object/apply:os.system [ls]", "the tag !!python/object"),
        ("x: !x 3", "the tag !x"),
        ("x: !!str 3", "the tag"),
        ("x: &a 3", "the anchor &a"),
        ("x: *laser", "alias"),
        ("laser: on", "laser: is there twice, first on line 6"),
        ("? [1, 2]\n: 3", "a key must be a text"),
        ("x: " + "[" * 2000, "no YAML|nested too deeply"),
        ("x: [", "no YAML"),
        ("\tx: 1", "no YAML"),
    ],
)
def test_nothing_but_plain_values(more, words):
    with pytest.raises(xf.ConfigError, match=words):
        CubeRecipe.from_text(GOOD + more, "cube.yaml")


@pytest.mark.parametrize("text", ["- 1\n- 2", "just words", "3", ""])
def test_what_is_no_map(text):
    with pytest.raises(xf.ConfigError, match=r"map of keys|missing"):
        CubeRecipe.from_text(text)


def test_a_huge_text_is_refused():
    with pytest.raises(xf.ConfigError, match="at most"):
        CubeRecipe.from_text("#" * (2 << 20))


def test_the_schema_names_every_key():
    schema = CubeRecipe.json_schema()
    assert {"bins", "detectors", "laser", "filters"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_filters_are_picked_by_name():
    recipe = CubeRecipe.from_text(GOOD)
    assert recipe.filter_name("custom") == "custom"
    with pytest.raises(xf.ConfigError, match="Did you mean 'custom'"):
        recipe.filter_name("costum")


def test_line_of_a_quoted_key_with_points_is_its_own():
    text = GOOD.replace("custom:", '"a/../b":')
    with pytest.raises(xf.ConfigError, match=r"^c.yaml line 9, filters.a/../b: "):
        CubeRecipe.from_text(text, "c.yaml")
    text = GOOD.replace("custom:", '"x.1":').replace("0.5, 1.5]", "2, 1]")
    with pytest.raises(xf.ConfigError, match=r"^c.yaml line 9, filters.x.1.0: "):
        CubeRecipe.from_text(text, "c.yaml")


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("det", {"common_mode": 6}, "does not tell the detector"),
        ("epix10k2M", {"common_mode": 45}, "epix10ka has no common mode 45"),
        ("det", {"common_mode": 1, "calibrate": "jungfrau"}, "no common mode 1;"),
    ],
)
def test_numbers_of_common_modes_are_those_of_the_detector(name, spec, words):
    head = {"schema_version": 1, "kind": "cube"}
    with pytest.raises(xf.ConfigError, match=words) as caught:
        CubeRecipe.from_dict({**head, "detectors": {name: spec}})
    assert caught.value.key == f"detectors.{name}.common_mode"
    good = {"epix10k2M": {"common_mode": 84}, "my_epix100": {"common_mode": 46},
            "jungfrau": {"common_mode": [7, 3, 10, 10]},
            "x": {"calibrate": "epix100", "common_mode": 45}}  # fmt: skip
    CubeRecipe.from_dict({**head, "detectors": good})
