"""Formulas of per-shot values, against Python's own reading of the same text."""

import re

import numpy as np
import pytest

from xfelred.errors import ConfigError
from xfelred.recipes.expressions import parse_formula

A = np.array([1.0, -2.0, np.nan, 4.0])
B = np.array([2.0, 0.5, 3.0, -1.0])
TEXTS = [
    "a + b * 2 - 3",
    "-a ** 2",
    "2 ** -b ** 2",
    "(a + 1) / (b - 0.5)",
    "a - b - 1",
    "a / b / 2e1",
    "- - a + +b",
    "abs(a) + sqrt(abs(b)) * exp(-b) - log(3)",
    "min(a, b, 1) + max(a, 0)",
    "(a > 0) * b",
    "a <= b",
    "a != b",
    "where(b > 1, b, .5)",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_formulas_say_what_python_says(text):
    known = {
        "abs": np.abs, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "where": np.where,
        "min": lambda *v: np.minimum(*v[:2]) if len(v) == 2 else np.minimum(
            np.minimum(*v[:2]), v[2]),
        "max": np.maximum, "a": A, "b": B,
    }  # fmt: skip
    expected = eval(text, known)
    quoted = re.sub(r"\b([ab])\b", r"`\1`", text)
    np.testing.assert_array_equal(parse_formula(quoted)({"a": A, "b": B}), expected)


def test_a_value_of_each_shot_goes_with_several():
    found = parse_formula("`a` * `c`")({"a": A, "c": np.ones((4, 3))})
    np.testing.assert_array_equal(found, np.repeat(A[:, None], 3, 1))


def test_a_missing_condition_chooses_neither():
    found = parse_formula("where(`a`, 1, 2)")({"a": A})
    np.testing.assert_array_equal(found, [1, 1, np.nan, 1])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("1 +", "wanted a value, found the end"),
        ("", "wanted a value, found the end"),
        ("a", "stands in backquotes: `a`"),
        ("sqr(2)", "Did you mean 'sqrt'"),
        ("1 < 2 < 3", "wanted one comparison"),
        ("(1", r"wanted \)"),
        ("1 2", "wanted an operator, found '2'"),
        ("max(1)", "takes 2 or more values, not 1"),
        ("log(1, 2)", "takes 1 values, not 2"),
        ("__import__('os')", "cannot read"),
        ("`a`.shape", "cannot read"),
        ("[1]", "cannot read"),
        ("lambda", "no function 'lambda'"),
        ("-" * 200 + "1", "nested too deeply"),
        ("(" * 200 + "1", "nested too deeply"),
        ("1" + "+1" * 300, "more than 250 parts"),
        ("1" * 1001, "at most 1000"),
    ],
)
def test_all_else_is_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_formula(text)
