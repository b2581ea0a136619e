"""The page: whole, self-contained, escaped, the same bytes, never half-written."""

import dataclasses
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_sample import (
    COMMAND,
    LEARNING,
    NASTY,
    TABLES,
    VERSIONS,
    make_model,
    small_model,
    write,
)

from pyvgrad import plots
from pyvgrad.errors import VgradError
from pyvgrad.page import Table
from pyvgrad.report import Curve, Signal

pytest.importorskip("matplotlib")

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Elements, text and attributes, with every open element closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    models = [make_model(title=NASTY), make_model(1, steps=100)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write(path, models, learning=LEARNING)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_is_well_nested_and_has_one_of_each_landmark(page):
    for tag in ("html", "head", "title", "body", "header", "nav", "main", "footer"):
        assert len(page.all(tag)) == 1
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1


def test_nothing_is_fetched(text, page):
    assert "://" not in text
    assert "@import" not in text
    for tag, attrs in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "img", "image"}
        assert not attrs.keys() & {"src", "srcset", "xlink:href", "data"}
        assert attrs.get("href", "#").startswith("#")
    assert all(at.startswith("#") for at in re.findall(r"url\(([^)]*)\)", text))


def test_ids_are_unique_and_every_reference_has_its_target(text, page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    used = set(re.findall(r"url\(#([^)]*)\)", text))
    used |= {a["href"][1:] for _, a in page.elements if "href" in a}
    assert used <= set(ids)


def test_every_text_given_is_there_and_escaped(text, page):
    shown = "".join(page.text)
    for name, table in (TABLES | {LEARNING.title: LEARNING.table}).items():
        cells = [cell for row in table.rows for cell in row]
        for given in (name, table.note, *table.columns, *cells):
            assert given in shown
    for given in (COMMAND, *VERSIONS, *VERSIONS.values(), "2,364 bytes", "random-1"):
        assert given in shown
    assert "<b>" not in text
    assert page.all("script") == []


def test_verdict_and_table_come_before_the_models(text):
    verdict = text.index('<p class="verdict yes">')
    assert verdict < text.index("<table>") < text.index('<section id="model-0">')
    learnt = text.index('<section id="learning">')
    assert verdict < learnt < text.index('<section id="model-0">')
    assert text.index('id="model-0"') < text.index('id="model-1"')


def test_tables_and_plots_speak_to_a_screen_reader(page):
    assert {a["scope"] for a in page.all("th")} == {"col", "row"}
    assert len(page.all("caption")) == len(page.all("table")) == len(TABLES) + 1
    svgs = page.all("svg")
    assert len(svgs) == len(page.all("figcaption")) == 1 + 2 * (1 + 7 + 3)
    for attrs in svgs:
        assert attrs["role"] == "img"
        assert len(attrs["aria-label"]) > 40


def test_numbers_are_set_to_the_right_and_words_are_not(page):
    first = [a.get("class") for a in page.all("th")[:3]]
    assert first == [None, "number", "number"]


def test_plots_take_all_their_colours_from_the_style_sheet(text):
    body = text[text.index("</style>") :]
    assert "#0000" not in body
    used = set(re.findall(r"var\(--(\w+)\)", body))
    assert {"ink", "grid", "band", "unit0", "unit3"} <= used
    sheet = text[text.index("<style>") : text.index("</style>")]
    assert all(sheet.count(f"--{name}: #") == 2 for name in used)  # light, dark
    assert not re.findall(r"(?:fill|stroke): #", body)


def test_errors_are_summed_up_as_verify_does(tmp_path):
    rng = np.random.default_rng(3)
    lsb = 10 * rng.standard_normal(5000)
    model = small_model(errors={"total": {"h": lsb}})
    rms = np.sqrt(np.mean(lsb**2))
    bits = np.log2(2.0 * 2**14 / (rms * np.sqrt(12)))
    legend = f"total: rms {rms:.3g} lsb, max {np.abs(lsb).max():.3g}"
    text = write(tmp_path / "r.html", [model])
    assert f"{legend}; {bits:.1f} effective bits" in text
    assert "1 lsb is 2<sup>&minus;14</sup>" in text


def test_a_signal_of_unknown_exponent_is_measured_in_values(tmp_path):
    assert "value" not in _caption(write(tmp_path / "a.html"), "Logits")
    bare = small_model(exps={}, errors={"total": {"logits": np.ones(9)}})
    text = write(tmp_path / "b.html", [bare])
    assert "lsb" not in _caption(text, "Logits")
    assert "effective bits" not in text
    assert "full scale of" not in text


def _caption(text, name):
    found = re.search(
        rf"<figcaption><strong>{name}</strong>: (.*?largest.*?)</fig", text
    )
    return unescape(found.group(1))


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import report_sample as t; "
        "from pathlib import Path; t.write(Path(sys.argv[2]))"
    )
    here, path = Path(__file__).parent, tmp_path / "there.html"
    subprocess.run(
        [sys.executable, "-c", code, str(here), str(path)],
        check=True,
        cwd=here.parent,
        env={"PYTHONPATH": ".", "PYTHONHASHSEED": "7", "MPLCONFIGDIR": str(tmp_path)},
    )
    assert path.read_bytes() == write(tmp_path / "here.html").encode()


def test_the_users_matplotlib_settings_neither_matter_nor_change(tmp_path):
    import matplotlib as mpl

    plain = write(tmp_path / "a.html")
    with mpl.rc_context({"lines.linewidth": 9.0, "axes.facecolor": "red"}):
        assert write(tmp_path / "b.html") == plain
        assert mpl.rcParams["lines.linewidth"] == 9.0


def test_an_exception_leaves_the_old_page_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*args, **kwargs):
        raise RuntimeError("in the last plot")

    with monkeypatch.context() as patch:
        patch.setattr(plots, "histogram", fail)
        with pytest.raises(RuntimeError):
            write(path)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(RuntimeError):
            write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_matplotlib_only_the_use_fails(tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(VgradError, match=r"pip install pyvgrad\[plot\]"):
        write(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_module_loads_neither_matplotlib_nor_jax():
    code = (
        "import sys, pyvgrad.report; "
        "assert not {'matplotlib', 'jax', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_long_strings_and_wordy_symbols_fit_and_say_what_is_cut(tmp_path):
    model = make_model(steps=300)
    words = [f"day {k}" for k in range(300)]
    long = small_model(symbols=words, signals=model.signals[:1])
    text = write(tmp_path / "r.html", [long])
    assert "the first 48 of 300 steps" in text
    assert "day 47" in text
    assert "day 48" not in text


def test_errors_of_zero_and_a_single_step_can_be_drawn(tmp_path):
    s = Signal("layer 2 c", np.zeros((1, 1)), np.zeros((1, 1)))
    model = small_model(
        symbols="B",
        curve=Curve(np.array([10]), np.array([0.5]), None),
        signals=[s],
        errors={"total": {"layer 2 c": np.zeros(1)}},
    )
    text = write(tmp_path / "r.html", [model])
    assert "Layer 2, cell state c" in text
    assert "Not solved within 10 sequences" in text


def test_ten_models_with_long_strings_fit_in_three_megabytes(text):
    long = text[text.index('id="model-1"') :]
    assert 10 * len(long.encode()) < 3_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"signals": []},
        {"errors": {}},
        {"errors": {"total": {"h": np.array([])}}},
        {"errors": {"total": {"h": np.array([np.nan])}}},
        {"symbols": "BT"},
        {"curve": Curve(np.array([]), np.array([]), None)},
        {"curve": Curve(np.array([1]), np.array([np.nan]), None)},
        {"curve": Curve(np.array([1, 2]), np.array([1.0]), None)},
        {"signals": [Signal("c", np.zeros((0, 3)), np.zeros((0, 3)))]},
        {"signals": [Signal("c", np.zeros((5, 3)), np.zeros((5, 2)))]},
        {"signals": [Signal("c", np.zeros((5, 3)), np.full((5, 3), np.inf))]},
    ],
)
def test_a_model_with_nothing_to_show_is_refused(tmp_path, change):
    model = small_model(**change)
    with pytest.raises(ValueError, match="random-0"):
        write(tmp_path / "r.html", [model])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("models", "tables"),
    [
        ([], None),
        (None, {}),
        (None, {"t": Table([], [])}),
        (None, {"t": Table(["a"], [])}),
        (None, {"t": Table(["a"], [["1", "2"]])}),
    ],
)
def test_no_model_no_table_or_a_ragged_one_is_refused(tmp_path, models, tables):
    with pytest.raises(ValueError, match=r"report|table"):
        write(tmp_path / "r.html", models, tables)


def test_running_median_drops_a_spike_and_keeps_the_length():
    values = np.array([1.0, 1.0, 9.0, 1.0, 1.0, 3.0])
    assert plots.running_median(values, 1).tolist() == [1, 1, 1, 1, 1, 2]


# ---- what was learnt -------------------------------------------------------


def test_the_curve_of_learning_stands_beside_its_table(tmp_path):
    text = write(tmp_path / "r.html", learning=LEARNING)
    section = text[text.index('<section id="learning">') :]
    section = section[: section.index("</section>")]
    shown = unescape(section)
    for said in ("strings right", "updates clipped", "solved after 300", "run on the"):
        assert said in shown
    assert "Loss from 0.9 to 0.0021, right strings from 0% to 100%" in shown
    assert section.index("<table>") < section.index("<figure>")
    assert '<a href="#learning">' in text


def test_a_page_without_learning_has_no_such_section(tmp_path):
    assert "learning" not in write(tmp_path / "r.html").partition("<main>")[2]


def test_a_failed_learning_of_one_test_can_be_drawn(tmp_path):
    one = {k: getattr(LEARNING, k)[:1] for k in ("at", "loss", "right", "clipped")}
    failed = dataclasses.replace(LEARNING, solved_at=None, **one)
    text = write(tmp_path / "r.html", learning=failed)
    section = text[text.index('<section id="learning">') :].partition("</section>")[0]
    assert "sequences seen" in section
    assert "solved after" not in section


@pytest.mark.parametrize(
    "change",
    [
        {"loss": np.zeros(3)},
        {"loss": np.array([1.0, np.nan, 1.0])},
        {"right": np.zeros(2)},
        {"clipped": np.full(3, np.inf)},
        {"at": np.zeros((3, 1))},
        {"table": Table(["a"], [])},
    ],
)
def test_a_learning_with_nothing_to_show_is_refused(tmp_path, change):
    with pytest.raises(ValueError, match="Learnt"):
        write(tmp_path / "r.html", learning=dataclasses.replace(LEARNING, **change))
    assert list(tmp_path.iterdir()) == []
