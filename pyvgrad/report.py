"""The page to look at after the demo: do the bits agree, and how near is float.

One HTML file with everything in it: no script, no font, no image from elsewhere.  The
same arguments give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import islice
from pathlib import Path

import numpy as np

from pyvgrad import page, plots, report_learning
from pyvgrad.accuracy import Error
from pyvgrad.cells import Array
from pyvgrad.files import write_bytes
from pyvgrad.page import Table
from pyvgrad.report_learning import LearningReport

STEPS = 48  # of a long string, so that symbols and points stay apart

_WORDS = {
    "c": "cell state c",
    "h": "output h",
    "i": "input gate i",
    "f": "forget gate f",
    "o": "output gate o",
    "g": "cell input g",
    "y": "output y",
}
_EXPS = {"c": 20, "h": 14, "i": 14, "f": 14, "o": 14, "g": 14}
_FULL_SCALES = {"c": 2.0, "h": 2.0, "logits": 32.0}  # as pyvgrad verify
_REFERENCES = {
    "total": ", against the trained float model",
    "arithmetic": ", against the blob's own weights in float",
}


@dataclass(frozen=True)
class Curve:
    """One training."""

    loss_at: Array  # (chunks,) sequences seen
    losses: Array  # (chunks,) mean loss of a sequence
    solved_at: int | None


@dataclass(frozen=True)
class Signal:
    """One signal over one string."""

    name: str  # "c", "h", "i", "f", "o", "g", "logits"; or "layer 2 c"
    fixed: Array  # (T, n) values: raw / 2^e
    float_: Array  # (T, n) of the trained float model


@dataclass(frozen=True)
class ModelReport:
    """What is shown of one model."""

    name: str  # "embedded-reber"
    title: str  # "LSTM, 12 units, embedded Reber grammar"
    symbols: str | Sequence[str]  # one a step; what follows the last step is not shown
    curve: Curve
    signals: list[Signal]
    errors: dict[str, dict[str, Array]]  # {"total": {"h": errors in lsb, flat}}
    facts: dict[str, str]  # {"weights": "1,051"}
    # Exponents and full scales of signals by name.  Known without: c is q20, gates and
    # bounded h are q14; full scale is 2 of c and h, 32 of logits.
    exps: dict[str, int] = field(default_factory=dict)
    full_scales: dict[str, float] = field(default_factory=dict)


def write_report(
    path: Path,
    models: list[ModelReport],
    tables: dict[str, Table],
    *,
    command: str,
    versions: dict[str, str],
    learning: LearningReport | None = None,
) -> None:
    """Write the page in one step: tables first, then what was learnt, then each model.

    ValueError if there is nothing to show or arrays do not fit, VgradError without
    matplotlib or where the file cannot be written.
    """
    if not models or not tables:
        raise ValueError("a report needs at least one model and one table")
    for name, table in tables.items():
        page.check_table(name, table)
    for model in models:
        _check_model(model)
    sections = {f"model-{k}": _model(k, model) for k, model in enumerate(models)}
    titles = {f"model-{k}": model.title for k, model in enumerate(models)}
    if learning is not None:
        sections = {"learning": report_learning.section(learning)} | sections
        titles = {"learning": learning.title} | titles
    html = page.page(
        command,
        [page.table(name, t) for name, t in tables.items()],
        sections.values(),
        titles,
        versions,
    )
    write_bytes(path, html.encode())


# ---- what can be shown ---------------------------------------------------


def _check_model(model: ModelReport) -> None:
    losses = np.asarray(model.curve.losses, float)
    if losses.shape != np.shape(model.curve.loss_at) or losses.ndim != 1:
        raise ValueError(f"{model.name}: loss_at and losses must both be (chunks,)")
    if not np.any(np.isfinite(losses) & (losses > 0)):
        raise ValueError(f"{model.name}: no loss is finite and above 0")
    if not model.signals or not any(model.errors.values()):
        raise ValueError(f"{model.name}: there are no signals or no errors")
    for s in model.signals:
        fixed, float_ = np.asarray(s.fixed), np.asarray(s.float_)
        if fixed.ndim != 2 or not fixed.size or fixed.shape != float_.shape:
            raise ValueError(
                f"{model.name}: {s.name} must be (T, n) twice, it is {fixed.shape} "
                f"and {float_.shape}"
            )
        if not np.all(np.isfinite(fixed) & np.isfinite(float_)):
            raise ValueError(f"{model.name}: a value of {s.name} is not finite")
        if len(model.symbols) < len(fixed):
            raise ValueError(
                f"{model.name}: {len(model.symbols)} symbols for {len(fixed)} steps"
            )
    for kind, by_signal in model.errors.items():
        for name, lsb in by_signal.items():
            if not np.size(lsb) or not np.all(np.isfinite(lsb)):
                raise ValueError(
                    f"{model.name}: {kind} errors of {name} must be finite, and some"
                )


# ---- a model -------------------------------------------------------------


def _model(index: int, model: ModelReport) -> str:
    salt = f"model-{index}"
    signals = page.join(
        _signal(model, s, f"{salt}-{k}") for k, s in enumerate(model.signals)
    )
    names = dict.fromkeys(n for by_name in model.errors.values() for n in by_name)
    errors = page.join(_errors(model, n, f"{salt}-e{k}") for k, n in enumerate(names))
    kinds = "; ".join(
        f"<em>{escape(k)}</em>{_REFERENCES.get(k, '')}" for k in model.errors
    )
    total = max(len(s.fixed) for s in model.signals)
    labels = [str(symbol) for symbol in islice(model.symbols, min(total, STEPS))]
    text = ("" if all(len(label) == 1 for label in labels) else " ").join(labels)
    cut = f" (the first {STEPS} of {total:,} steps)" if total > STEPS else ""
    return f"""<section id="{salt}">
<h2>{escape(model.title)} <small>{escape(model.name)}</small></h2>
<div class="grid">
{page.facts(model.facts)}
{_training(model.curve, salt)}
</div>
<h3>One string, in float and in integers</h3>
<p>Lines are the trained float model, points are the integers as values: a point beside
its line would be an error that one can see. Below, in lsb of the signal, the bar of a
step spans the differences of all units. The string{cut}:
<code class="string">{escape(text)}</code></p>
<div class="grid">
{signals}
</div>
<h3>Errors over many strings</h3>
<p>How far the integers are from float: {kinds}. A narrow, even peak at 0 is what to
look for; each panel has its own scale. The shaded band is &plusmn;&frac12; lsb, what
one rounding alone can do.</p>
<div class="grid">
{errors}
</div>
</section>"""


def _training(curve: Curve, salt: str) -> str:
    losses = np.asarray(curve.losses, float)
    end = f"{int(np.asarray(curve.loss_at)[-1]):,}"
    verdict = (
        f"Not solved within {end} sequences."
        if curve.solved_at is None
        else f"The dashed line is where the stop test held, after {curve.solved_at:,} "
        "sequences."
    )
    alt = (
        f"Training loss from {losses[0]:.3g} to {losses[-1]:.3g} over {end} sequences. "
        f"{verdict}"
    )
    at = np.asarray(curve.loss_at, float)
    svg = plots.training(at, losses, curve.solved_at, alt=alt, salt=salt)
    smooth = " Faint, each chunk; bold, a running median." if len(at) >= 60 else ""
    return page.figure(
        svg,
        f"<strong>Training</strong> in float: the loss, on a logarithmic scale, should "
        f"fall. {verdict}{smooth}",
    )


def _title(name: str) -> str:
    """What a signal is called: "Layer 2, cell state c"."""
    layer, _, letter = name.rpartition(" ")
    title = (f"{layer}, " if layer else "") + _WORDS.get(letter, letter)
    return title[:1].upper() + title[1:]


def _lookup(given: Mapping[str, float], known: Mapping[str, float], name: str) -> float:
    """Return what is given, else known of every such signal, else NaN."""
    return given.get(name, known.get(name.rpartition(" ")[2], np.nan))


def _lsb_text(exp: float) -> str:
    return "" if np.isnan(exp) else f" 1 lsb is 2<sup>&minus;{exp:.0f}</sup>."


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _units(model: ModelReport, signal: Signal) -> list[int]:
    """The units that move most, the same ones in all signals of a layer."""

    def family(s: Signal) -> tuple[str, bool, int]:
        layer, _, letter = s.name.rpartition(" ")
        return layer, letter in ("logits", "y"), np.shape(s.fixed)[1]

    first = next(s for s in model.signals if family(s) == family(signal))
    span = np.ptp(np.asarray(first.float_, float)[:STEPS], axis=0)
    most = np.argsort(-span, kind="stable")[: plots.UNITS]
    return sorted(int(k) for k in most)


def _signal(model: ModelReport, signal: Signal, salt: str) -> str:
    fixed, float_ = (
        np.asarray(a, float)[:STEPS] for a in (signal.fixed, signal.float_)
    )
    exp = _lookup(model.exps, _EXPS, signal.name)
    lsb = None if np.isnan(exp) else 2.0**-exp
    units = _units(model, signal)
    n = fixed.shape[1]
    worst = float(np.abs(fixed - float_).max())
    at_worst = np.format_float_positional(worst, 2, fractional=False, trim="-")
    if lsb is not None:
        at_worst = f"{_number(worst / lsb)} lsb ({at_worst})"
    shown = f"{len(units)} of {n} units" if n > len(units) else f"all {n} units"
    caption = f"{shown}, by symbol; the largest difference of all units is {at_worst}."
    title = _title(signal.name)
    alt = f"{title} over {len(fixed)} steps, float and fixed: {caption}"
    labels = [str(symbol) for symbol in islice(model.symbols, len(fixed))]
    svg = plots.signal(fixed, float_, units, labels, lsb, alt=alt, salt=salt)
    return page.figure(
        svg, f"<strong>{escape(title)}</strong>: {caption}{_lsb_text(exp)}"
    )


def _errors(model: ModelReport, name: str, salt: str) -> str:
    of = {k: np.asarray(v[name], float) for k, v in model.errors.items() if name in v}
    exp = _lookup(model.exps, _EXPS, name)
    full_scale = _lookup(model.full_scales, _FULL_SCALES, name)
    legends = {}
    for kind, lsb in of.items():
        legends[kind] = f"{kind}: rms {_number(np.sqrt(np.mean(lsb**2)))} lsb, "
        legends[kind] += f"max {_number(np.abs(lsb).max())}"
        bits = Error.of(lsb, 0, full_scale * 2.0**exp).effective_bits
        if bits is not None and np.isfinite(bits):
            legends[kind] += f"; {bits:.1f} effective bits"
    title = _title(name)
    alt = f"Histograms of the error of {title}. " + ". ".join(legends.values()) + "."
    svg = plots.histogram(of, legends, alt=alt, salt=salt)
    values = " and ".join(dict.fromkeys(f"{lsb.size:,}" for lsb in of.values()))
    scale = (
        ""
        if np.isnan(full_scale + exp)
        else f" Bits are of a full scale of {full_scale:g}."
    )
    caption = f"share of {values} values at each error, in lsb.{_lsb_text(exp)}{scale}"
    return page.figure(svg, f"<strong>{escape(title)}</strong>: {caption}")
