"""A run in words: the text and the table that notebooks show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

MOST_FACTS = 18
Facts = Sequence[tuple[str, str]]


def as_text(run_id: str, facts: Facts) -> str:
    """Return a short description, at most 20 lines."""
    return "\n".join(
        [f"<xfelred.Run {run_id}>".replace(" >", ">")]
        + [f"  {what + ':':<12}{value}" for what, value in facts[:MOST_FACTS]]
    )


def as_html(run_id: str, facts: Facts, kind: str, names: Collection[str]) -> str:
    """Return the description as a small table; `names` of a kind are folded away."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(what)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for what, value in facts
    )
    more = "".join(f"<li><code>{escape(n)}</code></li>" for n in names)
    return (
        f"<div><strong>xfelred.Run</strong> {escape(run_id)}<table>{rows}</table>"
        f"<details><summary>all {len(names)} {kind}</summary><ul>{more}</ul>"
        "</details></div>"
    )
