"""What all pages share: their frame, their style, escaped text, pictures inside."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import jinja2

from xfelred.errors import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
body { font: 15px/1.45 sans-serif; color: #222; max-width: 70em; margin: 2em auto;
  padding: 0 1em; overflow-wrap: anywhere }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em;
  border-bottom: 1px solid #ccc } h3 { font-size: 1em; margin: 1.2em 0 .3em }
.wide { overflow-x: auto } .tall { max-height: 24em; overflow-y: auto }
table { border-collapse: collapse; margin: .6em 0; overflow-wrap: normal }
th, td { padding: .15em .8em; border-bottom: 1px solid #e4e4e4; text-align: right }
th:first-child, td:first-child { text-align: left }
th + th, td + td { white-space: nowrap }
td.none { color: #999 } td.bad { color: #b3261e; font-weight: bold }
.facts td + td, .facts td { text-align: left; vertical-align: top;
  overflow-wrap: anywhere; white-space: normal }
.facts td:first-child { white-space: nowrap; color: #555 }
.note { color: #555; font-size: .92em }
.grid { display: grid; gap: 1em 1.5em;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26em), 1fr)) }
figure { margin: .4em 0; min-width: 0 } figcaption { font-size: .92em; color: #444 }
img { max-width: 100%; height: auto; display: block; margin: .6em 0 }
pre { background: #f5f5f5; padding: .7em; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 12px }
@media (max-width: 40em) { body { margin: 1em auto; padding: 0 .7em; font-size: 14px }
  th, td { padding: .15em .35em } .facts td:first-child { white-space: normal } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style|safe }}</style></head><body>
<h1>{{ title }}</h1>
{% block content %}{% endblock %}
</body></html>
"""

PARTS = """
{%- macro facts(rows) %}<table class="facts">{% for name, value in rows %}
<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>{% endmacro %}
{%- macro picture(one) %}<figure>
<img alt="{{ one.title }}: {{ one.alt }}" src="data:image/png;base64,{{ one.png }}">
{% if one.words %}<figcaption>{{ one.words }}</figcaption>{% endif %}
</figure>{% endmacro %}
{%- macro table(one) %}<div class="wide{% if one.rows|length > 18 %} tall{% endif %}">
<table><tr>{% for c in one.columns %}<th>{{ c }}</th>{% endfor %}</tr>
{% for row in one.rows %}<tr>{% for n in row %}
<td{% if n == "0" and loop.index0 >= one.get("labels", 1) %} class="none"{% endif %}>
{{- n }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endmacro %}
"""


def render_page(content: str, *, title: str, **values: object) -> str:
    """Return a page of HTML that needs nothing but itself; all `values` are escaped.

    `content` is the template of what is between the heading and the end. ``parts`` has
    macros: facts(pairs), picture(dict with title, alt, png, words), table(dict with
    columns, rows).
    """
    start = '{% extends "page" %}{% import "parts" as parts %}{% block content %}'
    sources = {
        "page": PAGE,
        "parts": PARTS,
        "content": start + content + "{% endblock %}",
    }
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.DictLoader(sources),
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("content")
    return printable(template.render(title=title, style=STYLE, **values))


def inline_png(figure: Figure) -> str:
    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    return base64.b64encode(memory.getvalue()).decode()
