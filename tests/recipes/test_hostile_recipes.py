"""Recipes and cuts that mean harm, or were damaged: one ConfigError, soon."""

import contextlib
import time

import numpy as np
import pytest

from xfelred import CubeRecipe
from xfelred.errors import ConfigError, XfelredError
from xfelred.ops.cuts import parse_cut, parse_cuts
from xfelred.ops.reductions.bins import Bins
from xfelred.recipes import text as module

HEAD = "schema_version: 1\nkind: cube\n"
TOML = "schema_version = 1\nkind = 'cube'\n"
# Of processor time, on a slow machine; each took a minute or more, or never ended.
SECONDS = 10
BIG = "9" * 5000


def refused(text, name="cube.yaml", words=None):
    begin = time.process_time()
    with pytest.raises(ConfigError, match=words) as caught:
        _ = CubeRecipe.from_text(text, name).bins
    assert time.process_time() - begin < SECONDS
    assert len(str(caught.value)) < 2000
    return caught.value


@pytest.mark.parametrize(
    "text",
    {
        "lists": "variables: " + "[" * 100_000,
        "closed lists": "variables: " + "[" * 20_000 + "]" * 20_000,
        "maps": "bins: " + "{a: " * 20_000 + "1" + "}" * 20_000,
        "dashes": "variables:\n" + "- " * 50_000 + "x",
        "blocks": "bins:\n" + "".join(" " * i + "a:\n" for i in range(1, 1400)),
        "keys": "? " * 50_000 + "a",
        "lists in the last of many": "variables: [a, " + "[b, " * 10_000,
    }.items(),
    ids=lambda item: item[0],
)
def test_deep_yaml_is_refused_before_it_is_read(text):
    refused(HEAD + text[1])


@pytest.mark.parametrize(
    "text",
    {
        "lists": "variables = " + "[" * 100_000 + "]" * 100_000,
        "inline": "bins = " + "{a = " * 20_000 + "1" + "}" * 20_000,
        "dotted key": ".".join("a" * 300_000) + " = 1",
        "dotted key with blanks": " . ".join("a" * 150_000) + " = 1",
        "quoted parts": ".".join(['"="'] * 100_000) + " = 1",
        "literal parts": ".".join(["'a.b'"] * 100_000) + " = 1",
        "table": "[" + ".".join("a" * 300_000) + "]\nb = 1",
        "array of tables": "[[ " + ".".join("a" * 300_000) + " ]]\nb = 1",
        "table of many keys": "[" + ".".join("a" * 5000) + "]\n"
        + "".join(f"k{i} = 1\n" for i in range(50_000)),
        "blanks": " " * 900_000 + "=",
        "quotes": '"' * 900_000,
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_deep_toml_is_refused_before_it_is_read(text):
    refused(TOML + text[1], "cube.toml")


def test_a_toml_key_with_few_parts_is_read():
    text = TOML + "bins.delay.start = -1\nbins.delay.stop = 1\nbins.delay.step = 0.5\n"
    edges = CubeRecipe.from_text(text, "cube.toml").bins["delay"].resolve().edges
    np.testing.assert_array_equal(edges, [-1, -0.5, 0, 0.5, 1])
    # Points in values are no parts of a key.
    numbers = ", ".join(f"{i}.5" for i in range(200))
    text = TOML + f"[bins.delay]\nedges = [{numbers}]\n"
    assert len(CubeRecipe.from_text(text, "cube.toml").model.bins["delay"].edges) == 200


@pytest.mark.parametrize(
    "number",
    [BIG, f"-{BIG}", f"0x{'f' * 5000}", f"0b{'1' * 5000}", f"0{'7' * 5000}", f"{BIG}.5",
     "1:" * 3000 + "30", "1" + "0" * 60, "0x_", "-0b_", "18446744073709551617", "1e999",
     ".inf", "-.inf", ".nan"],
)  # fmt: skip
@pytest.mark.parametrize(
    "where",
    ["execution: {{block_trains: {}}}",
     "bins: {{delay: {{start: 0, stop: {}, step: 1}}}}",
     "bins: {{delay: {{n: {}, range: [0, 1]}}}}", "histograms: {{x: [0, {}, 3]}}",
     "detectors: {{jungfrau: {{common_mode: {}}}}}", "schema_version: {}"],
)  # fmt: skip
def test_a_number_that_means_nothing_here_is_refused(number, where):
    head = HEAD if "schema" not in where else "kind: cube\n"
    refused(head + where.format(number))


@pytest.mark.parametrize("number", [BIG, f"0x{'f' * 5000}", "1e999", "nan", "-inf"])
def test_a_number_of_toml_that_means_nothing_is_refused(number):
    refused(TOML + f"execution.block_trains = {number}", "cube.toml")
    refused(TOML + f"[detectors.a]\nthreshold = {number}", "cube.toml")


@pytest.mark.parametrize("text", ["'nan'", "'inf'", "nan", ".nan", "'-inf'"])
def test_thresholds_are_finite(text):
    refused(HEAD + f"detectors: {{a: {{threshold: {text}}}}}", words="threshold")


def test_a_filter_may_be_open_at_one_end():
    recipe = CubeRecipe.from_text(HEAD + "filters: {f: [[a, 0, .inf]]}")
    assert CubeRecipe.from_text(recipe.to_yaml()) == recipe
    assert parse_cut(recipe.model.filters["f"][0]).limits == (0, np.inf)


def test_a_step_below_the_digits_of_the_start_makes_no_bins():
    bins = "{start: 1.0e+16, stop: 10000000000000010, step: 1.0e-5}"
    refused(HEAD + f"bins: {{delay: {bins}}}", words="must rise")
    with pytest.raises(ConfigError, match="must rise"):
        Bins(n=10_000, range=(1e16, 1e16 + 100))
    with pytest.raises(ConfigError, match="too many"):
        Bins(n=10**400, range=(0, 1))


@pytest.mark.parametrize(
    "text",
    [
        "variables: [" + "a, " * 300_000 + "a]",
        "filters: {" + ", ".join(f"f{i}: ['a > {i}']" for i in range(20_000)) + "}",
        "bins: {a: {edges: [" + "1, " * 30_000 + "2]}}",
        "variables: [" + "'" + "x" * 5000 + "']",
        "x" * 900_000 + ": 1",
        "".join(f"k{i}: 1\n" for i in range(60_000)),
        "#" * (1 << 20),
    ],
    ids=["list", "filters", "edges", "text", "key", "keys", "comment"],
)
def test_large_recipes_are_refused(text):
    refused(HEAD + text)


def test_two_documents_and_links_are_refused():
    refused(HEAD + "---\n" + HEAD, words="second document")
    bomb = "".join(
        f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9)
    )
    refused(HEAD + "a0: &a0 [x]\n" + bomb, words="the anchor &a0 is not allowed")


def nested(depth, kind):
    value = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def itself():
    loop = {}
    loop["a"] = loop
    return loop


def wide():
    level = ["x"] * 10
    for _ in range(15):
        level = [level] * 10  # 10**16 values in 160 places
    return level


@pytest.mark.parametrize(
    "value",
    [nested(5000, list), nested(5000, dict), itself(), wide(), 10**5000, -(10**400),
     {10**5000: 1}, ["x" * 10_000], np.full(30_000, 1.0), object(), {1, 2}, 1j],
    ids=range(12),
)  # fmt: skip
def test_values_of_python_are_held_to_the_same_limits(value):
    head = {"schema_version": 1, "kind": "cube"}
    for key in ("bins", "variables", "detectors", "laser_variable"):
        with pytest.raises(ConfigError):
            CubeRecipe.from_dict({**head, key: value})


@pytest.mark.parametrize(
    "cut",
    ["1" * 20_000, "(" * 100_000, "a " * 100_000, " " * 200_000, "`" * 10_001,
     "\n" * 5000,
     "a < " + "1" * 400, "a < 1e999", "-1e999 < a", "`" + "x" * 2000 + "` > 1",
     ["a", 0, 10**400], [["a", 0, 10**400]], ["x" * 5000, 0, 1], 10**5000,
     ["a", "1" * 5000, 2]],
    ids=range(15),
)  # fmt: skip
def test_cuts_are_short(cut):
    begin = time.process_time()
    with pytest.raises(ConfigError):
        parse_cuts(cut)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    "cut", ["1" * 999, "1" * 990 + " < a", "not " * 249 + "a", "((" * 400, ". " * 499]
)
def test_matching_the_longest_cut_takes_no_time(cut):
    begin = time.process_time()
    with contextlib.suppress(ConfigError):
        parse_cut(cut)
    assert time.process_time() - begin < 1


def test_a_cut_at_an_integer_keeps_its_digits():
    cut = parse_cut(f"a == {2**63 + 1}")
    values = np.array([2**63, 2**63 + 1], np.uint64)
    np.testing.assert_array_equal(cut.passes(values), [False, True])


# -- damage at random places ---------------------------------------------------------

GOOD = """
schema_version: 1
kind: cube
bins:
  delay: {start: "-5 ps", stop: "50 ps", step: "0.2 ps"}
  ipm2/sum: {edges: [300, 3000, 6000]}
laser: split
filters:
  filter1: [lightStatus/xray, "300 < ipm2/sum < 60000"]
variables: [ipm2/sum]
detectors:
  jungfrau1M:
    threshold: 6.5
    det_proc:
      - {function: roi, bounds: [[0, 1], [10, 20], [5, 30]]}
execution: {block_trains: 100}
"""
GOOD_TOML = """
schema_version = 1
kind = "cube"
variables = ["ipm2/sum"]
[bins.delay]
start = -5
stop = 5.5
step = "500 fs"
[filters]
f = ["a > 3", ["b", 0, 1]]
[detectors.jungfrau1M]
threshold = {low = 1, high = 1e3}
"""
PIECES = [
    "[", "]", "{", "}", ": ", "- ", "? ", "&a ", "*a", "!!python/object:os.system ",
    "'", '"', "|\n", ">\n", "\t", "\0", "\r", "\x1b[2J", "\x85", "\ufeff", "\u202e",
    "\ud800", "#", "---\n", "...\n", "<<: ", "%YAML 9.9\n", "=", ".", "0x_", "1e999",
    ".nan", "9" * 5000, "[" * 500, "a." * 500, "\\", "\n", "null", "true", "1:30:00",
    "2020-01-01", "é",
]  # fmt: skip


def damaged(rng, good):
    text = list(good)
    for _ in range(rng.integers(1, 3)):
        at = int(rng.integers(len(text) + 1))
        kind = rng.integers(4)
        if kind == 0:
            text[at:at] = [PIECES[rng.integers(len(PIECES))]]
        elif kind == 1:
            del text[at : at + int(rng.integers(1, 20))]
        elif kind == 2:
            text[at : at + 1] = [chr(int(rng.integers(0x250)))]
        else:
            begin = int(rng.integers(len(text) + 1))
            text[at:at] = text[begin : begin + int(rng.integers(1, 60))]
    return "".join(text)


@pytest.mark.parametrize(("good", "name"), [(GOOD, "r.yaml"), (GOOD_TOML, "r.toml")])
def test_a_damaged_recipe_is_a_recipe_or_an_error_of_ours(good, name):
    rng = np.random.default_rng(20_13)
    n_read, said = 0, []
    for _ in range(400):
        text = damaged(rng, good)
        try:
            recipe = CubeRecipe.from_text(text, name)
            _ = recipe.bins
        except ConfigError as error:
            said.append(str(error))
            continue
        n_read += 1
        # What is read can be written, and says the same.
        assert CubeRecipe.from_text(recipe.to_yaml()) == recipe, text
        assert len(recipe.sha256) == 64
    assert max(map(len, said)) < 2000
    assert not any(c in error for error in said for c in "\x1b\r\0\u202e\ud800")
    assert 10 < n_read < 390


def test_a_damaged_cut_is_a_cut_or_an_error_of_ours():
    rng = np.random.default_rng(8)
    values = np.array([np.nan, -np.inf, 0, 1, np.inf])
    for _ in range(2000):
        text = damaged(rng, "300 < `ipm2/sum` <= 6.5e4")
        try:
            cut = parse_cut(text)
        except XfelredError:
            continue
        assert cut.passes(values).shape == (5,)
        assert not cut.passes(values)[[0, 1, 4]].any()


def test_limits_are_those_that_are_told():
    assert module.LARGEST == 1 << 20
    text = HEAD + "variables: [" + ", ".join(f"v{i}" for i in range(5000)) + "]"
    assert len(CubeRecipe.from_text(text).model.variables) == 5000
