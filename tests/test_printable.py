"""Nothing that stands in a file acts upon a terminal or a page."""

import ast
import contextlib
import io
import logging
import warnings
from pathlib import Path

import pytest

from xfelred.errors import (
    ArgumentError,
    ConfigError,
    logger_of,
    one_line,
    printable,
    warn,
)
from xfelred.ops.shots.select_shots import CutFlow
from xfelred.readers.description import as_html, as_text, print_lines

PACKAGE = Path(__file__).resolve().parents[1] / "xfelred"
# C0, C1, DEL, carriage return, changes of direction, no width, half a character.
HOSTILE = [
    "\x00", "\x07", "\x08", "\r", "\x1b[2J", "\x7f", "\x85", "\x9b31m", "\x9d0;a\x9c",
    "\u061c", "\u200b", "\u200d", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a",
    "\u202e", "\u2060", "\u2066", "\u2069", "\ufeff", "\ud800", "\udcff", "\U000e0041",
]  # fmt: skip
hostile = pytest.mark.parametrize("text", HOSTILE, ids=ascii)
# Where the package may call what everybody else must not.
ALONE = {
    PACKAGE / "errors.py",
    PACKAGE / "readers" / "description.py",
    PACKAGE / "cli" / "words.py",
}
BARE = {
    "warnings.warn",
    "warnings.warn_explicit",
    "print",
    "sys.stdout.write",
    "click.echo",
} | {
    f"logging.{name}"
    for name in ("getLogger", "debug", "info", "warning", "error", "exception", "log")
}
# Loggers of others that the command sets up.
OTHERS = {"", "'distributed'", "'distributed.worker'"}


@hostile
def test_each_hostile_character_is_shown(text):
    shown = printable(f"a{text}b")
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert all(c.isprintable() for c in shown)


def test_plain_text_stays_as_it_is():
    text = "Überlagerung, 時間, µm, 5 °, x\ty\nz 😀"
    assert printable(text) == text


def test_a_name_cannot_add_a_line():
    assert one_line("ipm\nfacility: none") == "ipm\\nfacility: none"


@hostile
@pytest.mark.parametrize("kind", [ArgumentError, ConfigError])
def test_errors_show_hostile_characters(text, kind):
    assert text not in str(kind(f"no source {text}"))


@hostile
def test_warnings_show_hostile_characters(text):
    with pytest.warns(UserWarning, match="left out") as caught:
        warn(f"{text} is left out")
    assert text not in str(caught[0].message)


def test_a_warning_names_the_line_of_its_caller():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("it is so")
    assert caught[0].filename == __file__
    assert caught[0].category is UserWarning


def test_a_warning_is_short():
    with pytest.warns(UserWarning, match="characters") as caught:
        warn("x" * 100_000)
    assert len(str(caught[0].message)) < 2000


@hostile
def test_messages_of_a_log_show_hostile_characters(text):
    found = io.StringIO()
    handler = logging.StreamHandler(found)
    log = logger_of("xfelred.tests.printable")
    logging.getLogger("xfelred").addHandler(handler)
    try:
        log.warning("skipped %s for %d reasons", f"run{text}.h5", 3)
    finally:
        logging.getLogger("xfelred").removeHandler(handler)
    assert text not in found.getvalue()
    assert "for 3 reasons" in found.getvalue()


@hostile
def test_descriptions_show_hostile_characters(text):
    facts = [("detector", f"epix{text}<script>")]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        print_lines([f"  - {text}"])
    page = as_html(f"r{text}", facts, "sources", [f"{text}<img src=x>"])
    flow = CutFlow(3, [(f"ipm{text} > 1", 2, 2)])
    for shown in (as_text(f"r{text}", facts), page, out.getvalue(), str(flow)):
        assert text not in shown
    assert "<script" not in page
    assert "<img" not in page


def test_a_name_in_a_description_stays_on_its_line():
    facts = [("detector", "a\nfacility: none")]
    assert len(as_text("r1", facts).splitlines()) == 2


def test_all_warnings_and_logs_go_through_one_door():
    """Otherwise names in files come to the terminal as they are."""
    wrong = []
    for path in sorted({*PACKAGE.rglob("*.py")} - ALONE):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in BARE and not (
                called == "logging.getLogger" and ast.unparse(node)[18:-1] in OTHERS
            ):
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {called}")
    assert wrong == []
