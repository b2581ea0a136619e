"""The committed figures of the theory lab, and the page that tells the story."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from pyvgrad import theory_lab, theory_page
from pyvgrad.cli_lab import _LABS
from pyvgrad.theory import NETS

DOCS = Path(__file__).parents[1] / "docs"


def test_the_committed_figures_are_full_and_make_the_committed_page():
    found = json.loads((DOCS / "results" / "theory.json").read_text())
    assert found["full"]
    assert (found["first_seed"], found["seeds"]) == (10_000, theory_lab.SEEDS)
    assert list(found["over_q"]) == list(NETS)
    assert theory_lab.holds(found)
    text = (DOCS / "results" / "theory.md").read_text("utf-8")
    assert text == theory_page.page(found)


def test_the_story_s_links_are_there():
    """But for the pages that full runs of labs write, which may take a night."""
    text = (DOCS / "vanishing-gradient.md").read_text("utf-8")
    links = set(re.findall(r"\]\(([^)#]+)", text))
    labs = set(re.findall(r"pyvgrad lab ([a-z0-9-]+)", text))
    assert {"theory", "cliff", "temporal-order", "underflow"} <= labs & set(_LABS)
    pages = {f"results/{lab}.md" for lab in labs}
    assert pages <= links
    for link in links - (pages - {"results/theory.md"}):
        assert (DOCS / link).exists(), link


def test_the_story_s_example_prints_what_it_says():
    text = (DOCS / "vanishing-gradient.md").read_text("utf-8")
    [(source, printed)] = re.findall(
        r"```python\n(.*?)```\n+```\n(.*?)```", text, re.DOTALL
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
