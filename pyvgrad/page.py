"""HTML of the report: the page around its parts, tables, facts, figures.

A ``str`` that comes in is text and is escaped here, unless it is said to be HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources


@dataclass(frozen=True)
class Table:
    """Rows of text; ``note`` is the verdict over it and ``ok`` its colour."""

    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    ok: bool | None = None


def page(
    command: str,
    tables: Iterable[str],
    sections: Iterable[str],
    titles: Mapping[str, str],
    versions: Mapping[str, str],
) -> str:
    """The whole page; ``tables`` and ``sections`` are HTML, ``titles`` by their ids."""
    css = resources.files("pyvgrad").joinpath("report.css").read_text("utf-8")
    links = "".join(
        f'<li><a href="#{salt}">{escape(title)}</a></li>\n'
        for salt, title in titles.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>pyvgrad: are the bits the same everywhere?</title>
<style>
{css}</style>
</head>
<body>
<header>
<h1>Are the bits the same everywhere?</h1>
<p class="lead">Recurrent networks were trained in float and turned into integers. This
page shows whether everything that runs those integers gives the same bits, and how far
they are from the float model; and whether what learns in integers learns the same.</p>
<p>Made by <code>{escape(command)}</code></p>
<nav aria-label="Contents"><ul>
<li><a href="#agreement">Results</a></li>
{links}<li><a href="#versions">Versions</a></li>
</ul></nav>
</header>
<main>
<section id="agreement">
<h2>Results</h2>
{join(tables)}
</section>
{join(sections)}
</main>
<footer id="versions">
<h2>Versions</h2>
{facts(versions)}
</footer>
</body>
</html>
"""


def join(parts: Iterable[str]) -> str:
    """Parts of a page, one under the other."""
    return "\n".join(parts)


def check_table(name: str, table: Table) -> None:
    """ValueError for a table without rows, or with a row of another length."""
    if not table.columns or not table.rows:
        raise ValueError(f"table {name!r} is empty")
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(
                f"a row of table {name!r} has {len(row)} cells, not "
                f"{len(table.columns)}"
            )


def table(name: str, t: Table) -> str:
    """A table with its verdict above; columns of numbers are set to the right."""
    right = [
        all(re.match(r"[-+\u2212\u00b1]?\d|\W?$", row[k]) for row in t.rows)
        for k in range(len(t.columns))
    ]
    css = [' class="number"' if r else "" for r in right]
    head = "".join(
        f'<th scope="col"{c}>{escape(text)}</th>'
        for c, text in zip(css, t.columns, strict=True)
    )
    body = join(
        f'<tr><th scope="row"{css[0]}>{escape(row[0])}</th>'
        + "".join(
            f"<td{c}>{escape(text)}</td>"
            for c, text in zip(css[1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in t.rows
    )
    look = {True: " yes", False: " no", None: ""}[t.ok]
    verdict = f'<p class="verdict{look}">{escape(t.note)}</p>\n' if t.note else ""
    return f"""{verdict}<div class="scroll" role="region" tabindex="0"
aria-label="{escape(name)}"><table>
<caption>{escape(name)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>"""


def facts(facts: Mapping[str, str]) -> str:
    """Terms and what they are, as cards."""
    items = join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()
    )
    return f'<dl class="facts">\n{items}\n</dl>'


def figure(svg: str, caption: str) -> str:
    """A plot and its caption, both HTML."""
    return f"<figure>{svg}\n<figcaption>{caption}</figcaption></figure>"
