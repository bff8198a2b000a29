"""A run in words: the text and the table that notebooks show."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from html import escape

from xfelred.errors import one_line

MOST_FACTS = 18  # so that a description has at most 20 lines
Facts = Sequence[tuple[str, str]]


def as_text(run_id: str, facts: Facts) -> str:
    return "\n".join(
        [f"<xfelred.Run {one_line(run_id)}>".replace(" >", ">")]
        + [f"  {what + ':':<12}{one_line(value)}" for what, value in facts[:MOST_FACTS]]
    )


def as_html(run_id: str, facts: Facts, kind: str, names: Collection[str]) -> str:
    """Return the description as a small table; `names` of a kind are folded away."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{shown(what)}</th>"
        f"<td style='text-align:left'>{shown(value)}</td></tr>"
        for what, value in facts
    )
    more = "".join(f"<li><code>{shown(n)}</code></li>" for n in names)
    return (
        f"<div><strong>xfelred.Run</strong> {shown(run_id)}<table>{rows}</table>"
        f"<details><summary>all {len(names)} {kind}</summary><ul>{more}</ul>"
        "</details></div>"
    )


def shown(text: str) -> str:
    """Return text for a page: no tags, no control characters."""
    return escape(one_line(text))


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to the standard output; names in them come from files."""
    sys.stdout.write("".join(f"{one_line(line)}\n" for line in lines))
