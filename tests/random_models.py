"""Random valid models over the whole space of the blob format, small.

``random_qmodel`` draws one from a NumPy generator; what is not fixed by an argument is
random.  ``qmodels`` is the same as a hypothesis strategy over seeds.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from pyvgrad.cells import (
    CELLS,
    MODES,
    OUTPUTS,
    SQUASH_G,
    SQUASH_H,
    Fields,
    Layer,
    Readout,
    Shape,
)
from pyvgrad.qmodel import LAYOUTS, Ints, QLayer, QModel, QReadout, Scaling


def _coin(rng, p=0.5):
    return bool(rng.random() < p)


def random_fields(rng) -> Fields:
    """Draw any admitted combination of the fields of ``lstm97``."""
    recurrent = _coin(rng, 0.8)
    return Fields(
        squash_g=str(rng.choice(SQUASH_G)),
        squash_h=str(rng.choice(SQUASH_H)),
        output_gate=_coin(rng),
        forget_gate=_coin(rng),
        recurrent=recurrent,
        feedback=recurrent and _coin(rng),
    )


def random_layer(
    rng, n_in, *, cell=None, fields=None, block=None, n_max=6, direction="forward"
) -> Layer:
    """Draw a layer; ``block`` and ``fields`` hold only where the cell admits them."""
    cell = str(rng.choice(list(CELLS))) if cell is None else cell
    row = CELLS[cell]
    if not row.free_fields:
        fields = row.fields
    elif fields is None:
        fields = random_fields(rng)
    if not row.shared:
        block = 1
    elif block is None:
        block = int(rng.integers(1, 4))
    n = block * int(rng.integers(1, max(1, n_max // block) + 1))
    biases = _coin(rng, 0.7), _coin(rng, 0.7)
    return Layer(cell, n_in, n, block, fields, *biases, direction)


def random_layers(rng, n_in, n_layers, whole, **fixed) -> list[Layer]:
    """Draw layers; ``whole``: at least one reversed, or all in the way it names."""
    layers: list[Layer] = []
    below = n_in
    for k in range(n_layers):
        ways = ["forward"]
        if whole:
            ways = ["reverse", "both"] + ["forward"] * (k > 0)
            ways = [whole] if isinstance(whole, str) else ways
        way = str(rng.choice(ways)) if whole else "forward"
        names = ("forward-half", "reverse-half") if way == "both" else (way,)
        group = [random_layer(rng, below, direction=d, **fixed) for d in names]
        layers += group
        below = sum(layer.n for layer in group)
    return layers


def _exps(rng, rows, bits, argument_exp, columns) -> Ints:
    """Accumulator exponents: mostly where arguments are in range, else any."""
    usual = int(np.log2(columns) / 2) + (14 if bits == 16 else 6)
    draw = np.where(
        rng.random(rows) < 0.75,
        rng.integers(usual - 3, usual + 3, rows),
        rng.integers(1, 32, rows),
    )
    shift = np.clip(draw, 1, 31)
    return argument_exp + (shift if bits == 8 else np.full(rows, shift[0]))


def _integers(rng, limit, shape, extreme) -> Ints:
    if extreme:
        return rng.choice(np.array([-limit, limit]), shape)
    values = rng.integers(-limit, limit + 1, shape)
    return np.where(rng.random(shape) < 0.1, 0, values)


def _biases(rng, rows, extreme) -> Ints:
    if extreme:
        return rng.choice(np.array([-(2**31), 2**31 - 1]), rows)
    return rng.integers(-1, 2, rows) * 2 ** rng.integers(0, 31, rows)


def _initial(rng, layer, state_length, extreme):
    limit = 2**30
    c0 = None
    if layer.row.carry:
        wide = rng.choice(np.array([-limit, limit]), layer.n)
        c0 = wide if extreme else wide // 2 ** rng.integers(0, 31, layer.n)
    low = rng.choice(np.array([-32768, 32767]), state_length)
    return c0, low if extreme else low // 2 ** rng.integers(0, 16, state_length)


def _h_exp(rng, layer) -> int:
    return 14 if layer.bounded else int(rng.integers(0, 15))


def random_qlayer(
    rng, layer, bits, *, h_exp=None, extreme=False, initial_state=None
) -> QLayer:
    """Draw the numbers of a layer."""
    h_exp = _h_exp(rng, layer) if h_exp is None else h_exp
    q = QLayer(layer, h_exp, {}, {}, {})
    limit = 2 ** (bits - 1) - 1
    for k in layer.gates:
        rows, columns = layer.rows(k), layer.columns(k)
        q.exps[k] = _exps(rng, rows, bits, q.argument_exp(k), columns)
        if k in layer.row.joined:
            q.exps[k] = q.exps[layer.row.joined[0]].copy()
        q.weights[k] = _integers(rng, limit, (rows, columns), extreme)
        if layer.has_bias(k):
            q.biases[k] = _biases(rng, rows, extreme)
    if initial_state is None:
        initial_state = _coin(rng, 0.4)
    if not initial_state:
        return q
    c0, r0 = _initial(rng, layer, q.state_length, extreme)
    return dataclasses.replace(q, c0=c0, r0=r0)


def random_qreadout(rng, readout, bits, *, extreme=False) -> QReadout:
    """Draw the numbers of a readout."""
    logit_exp = 11 if readout.output == "logistic" else int(rng.integers(0, 15))
    columns = readout.n_in + readout.shortcuts
    limit = 2 ** (bits - 1) - 1
    return QReadout(
        readout,
        logit_exp,
        _exps(rng, readout.n_out, bits, logit_exp, columns),
        _integers(rng, limit, (readout.n_out, columns), extreme),
        _biases(rng, readout.n_out, extreme) if readout.biases else None,
    )


def random_scaling(rng, n_in) -> Scaling:
    """Draw an input scaling."""
    return Scaling(
        rng.integers(-(2**31), 2**31, n_in) // 2 ** rng.integers(0, 32, n_in),
        rng.integers(-32768, 32768, n_in),
        rng.integers(0, 48, n_in),
    )


def random_qmodel(
    rng: np.random.Generator,
    *,
    cell: str | None = None,
    fields: Fields | None = None,
    block: int | None = None,
    n_layers: int | None = None,
    n_in: int | None = None,
    n_max: int = 6,
    output: str | None = None,  # one of OUTPUTS, or "none" for no readout
    n_out: int | None = None,
    shortcuts: bool | None = None,
    bits: int | None = None,
    mode: str | None = None,
    scaling: bool | None = None,
    initial_state: bool | None = None,
    sections: bool = True,
    extreme: bool = False,
    whole: bool | str = False,
    layout: str = "rows",  # or "any"
) -> QModel:
    """Draw a model.  ``extreme``: every weight, bias and initial state at its limit.

    ``whole``: a layer is reversed; ``reverse`` or ``both``: every layer is.
    """
    if n_in is None:
        n_in = int(rng.integers(1, 6))
    bits = int(rng.choice([8, 16])) if bits is None else bits
    n_layers = int(rng.integers(1, 4)) if n_layers is None else n_layers
    kind = {"cell": cell, "fields": fields, "block": block, "n_max": n_max}
    layers = random_layers(rng, n_in, n_layers, whole, **kind)
    top = Shape(tuple(layers)).n_out
    output = str(rng.choice([*OUTPUTS, "none"])) if output is None else output
    readout = None
    if output != "none":
        n_out = int(rng.integers(1, 8)) if n_out is None else n_out
        shortcuts = _coin(rng) if shortcuts is None else shortcuts
        readout = Readout(top, n_out, output, n_in if shortcuts else 0, _coin(rng, 0.7))
    mode = str(rng.choice(MODES)) if mode is None else mode
    x_exp = int(rng.integers(0, 15))
    scaling = _coin(rng, 0.4) if scaling is None else scaling
    extra = [("note", b"abcde"), ("lrns", b""), ("note", bytes(range(8)))]
    shape = Shape(tuple(layers), readout, mode)
    h_exps = [_h_exp(rng, layer) for layer in layers]
    if readout is None:  # y has one exponent
        bounded = any(layers[k].bounded for k in shape.top)
        for k in shape.top:
            h_exps[k] = 14 if bounded else h_exps[-1]
    kind = {"extreme": extreme, "initial_state": initial_state}
    return QModel(
        shape,
        tuple(
            random_qlayer(rng, p, bits, h_exp=e, **kind)
            for p, e in zip(layers, h_exps, strict=True)
        ),
        None
        if readout is None
        else random_qreadout(rng, readout, bits, extreme=extreme),
        bits,
        x_exp,
        int(rng.integers(0, 31)) if scaling else x_exp,
        random_scaling(rng, n_in) if scaling else None,
        tuple(extra[: int(rng.integers(0, 4))]) if sections else (),
        str(rng.choice(LAYOUTS)) if layout == "any" else layout,
    )


def random_signals(rng, shape, *, extreme=False):
    """Draw int16 signals of all magnitudes; ``extreme``: each at a limit."""
    x = rng.choice(np.array([-32768, 32767]), shape)
    if not extreme:
        x = x // 2 ** rng.integers(0, 17, shape)
    return x.astype(np.int16)


@st.composite
def qmodels(draw, **fixed) -> QModel:
    """Strategy: models by seed; arguments as of ``random_qmodel``."""
    return random_qmodel(np.random.default_rng(draw(st.integers(0, 2**32))), **fixed)
