"""The topologies of the papers, by name, with the initial weights they state.

Sources: Hochreiter and Schmidhuber 1997 (H&S97) and Gers, Schmidhuber and Cummins 2000
(G00).  The counts of weights are those the papers print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pyvgrad.cells import DIRECTIONS, LSTM97, Fields, Layer, Readout, Shape

FEEDBACK = replace(LSTM97, recurrent=True, feedback=True)
IN_GATES_ONLY = Fields("s", "identity", False, False, recurrent=False)
LAG_CELLS = Fields("4s-2", "identity", False, False, recurrent=False)


@dataclass(frozen=True)
class Net:
    """A topology: ``shape(n_in, n_out)``, and how its weights start.

    Weights are uniform in +-``scale``; ``biases`` are the first values of the biases of
    a gate's blocks, in order, the other biases start like weights.
    """

    shape: Callable[[int, int], Shape]
    source: str
    scale: float = 0.2
    biases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def _memory(
    blocks: int,
    size: int,
    output: str = "logistic",
    fields: Fields = FEEDBACK,
    *,
    cell_biases: bool = False,
    gate_biases: bool = True,
    out_biases: bool = False,
    shortcuts: bool = False,
) -> Callable[[int, int], Shape]:
    """Blocks of ``size`` cells of 1997, one layer, one readout."""

    def build(n_in: int, n_out: int) -> Shape:
        n = blocks * size
        layer = Layer("lstm97", n_in, n, size, fields, cell_biases, gate_biases)
        x = n_in if shortcuts else 0
        return Shape((layer,), Readout(n, n_out, output, x, out_biases))

    return build


def _rtrl(n_in: int, n_out: int) -> Shape:
    layer = Layer("rnn_sigmoid", n_in, 1, cell_biases=False)
    return Shape((layer,), Readout(1, n_out, "logistic", n_in, biases=False))


def _elman(n_in: int, n_out: int) -> Shape:
    layer = Layer("rnn_sigmoid", n_in, 15, cell_biases=False)
    return Shape((layer,), Readout(15, n_out, "logistic", biases=False))


def fully_recurrent(n_in: int, n_out: int, hidden: int) -> Shape:
    """Each unit reads x and every unit; the first ``n_out`` are the outputs.

    Smith and Zipser 1989, as Williams and Zipser have it; no biases, no readout.
    """
    return Shape((Layer("rnn_sigmoid", n_in, n_out + hidden, cell_biases=False),))


def stack(
    cell: str,
    sizes: tuple[int, int, int],
    *,
    output: str,
    layers: int = 1,
    block: int = 1,
    shortcuts: bool = False,
    fields: Fields | None = None,
    biases: bool = True,
    bidirectional: bool = False,
) -> Shape:
    """``layers`` equal layers and a readout with biases.

    ``sizes`` are (n_in, cells of a layer, n_out), ``biases`` says whether cells and
    gates have them, ``fields`` None means the cell's own; ``bidirectional`` layers have
    so many cells in each direction.  ValueError for what no cell has.
    """
    n_in, n, n_out = sizes
    halves = DIRECTIONS[2:] if bidirectional else DIRECTIONS[:1]
    width = n * len(halves)
    rows = tuple(
        Layer(cell, width if k else n_in, n, block, fields, biases, biases, half)
        for k in range(layers)
        for half in halves
    )
    return Shape(rows, Readout(width, n_out, output, n_in if shortcuts else 0))


def altered(
    shape: Shape,
    *,
    cell: str | None = None,
    hidden: int | None = None,
    layers: int | None = None,
    block: int | None = None,
) -> Shape:
    """The shape with what is given changed; its layers are all like its first.

    Another cell comes with its own fields.  ValueError for what no cell has.
    """
    first = shape.layers[0]
    n = first.n if hidden is None else hidden
    changed = cell is not None and cell != first.cell
    like = replace(
        first,
        n=n,
        block=first.block if block is None else block,
        cell=cell if cell is not None else first.cell,
        fields=None if changed else first.fields,
    )
    count = len(shape.layers) if layers is None else layers
    rows = tuple(replace(like, n_in=n if k else shape.n_in) for k in range(count))
    readout = None if shape.readout is None else replace(shape.readout, n_in=n)
    return replace(shape, layers=rows, readout=readout)


_REBER, _LAG = "H&S97 experiment 1", "H&S97 experiment 2a"

NETS: dict[str, Net] = {
    "hs97-4x1": Net(_memory(4, 1), _REBER, 0.2, {"o": (-1.0, -2.0, -3.0, -4.0)}),
    "hs97-3x2": Net(_memory(3, 2), _REBER, 0.2, {"o": (-1.0, -2.0, -3.0)}),
    "feedback-8": Net(
        _memory(8, 1, "softmax", out_biases=True),
        "H&S97 experiment 1, 8 cells, softmax",
        0.2,
        {"o": tuple(-0.5 * k for k in range(1, 9))},
    ),
    "hs97-3x2-softmax": Net(
        _memory(3, 2, "softmax", replace(FEEDBACK, squash_h="identity")),
        "H&S97 experiment 1, h the identity, softmax",
        0.2,
        {"o": (-1.0, -2.0, -3.0)},
    ),
    "rtrl-1": Net(_rtrl, f"{_LAG}: one recurrent unit"),
    "elman-15": Net(_elman, "Cleeremans, Servan-Schreiber, McClelland 1989", 0.5),
    "long-lag": Net(
        _memory(1, 1, fields=IN_GATES_ONLY, gate_biases=False, shortcuts=True),
        f"{_LAG}: one cell, an input gate",
    ),
    "long-lag-2": Net(
        _memory(
            2,
            1,
            fields=LAG_CELLS,
            gate_biases=False,
            out_biases=True,
            shortcuts=True,
        ),
        f"{_LAG}: two cells, g in +-2, output biases",
        0.2,
        {"readout": (-3.0,)},
    ),
    "long-lag-2-softmax": Net(
        _memory(2, 1, "softmax", LAG_CELLS, gate_biases=False, shortcuts=True),
        f"{_LAG}: two cells, g in +-2, softmax",
        0.2,
    ),
    "distractors": Net(_memory(2, 1, gate_biases=False), "H&S97 experiment 2c"),
    "adding": Net(
        _memory(2, 2, "linear", cell_biases=True, out_biases=True),
        "H&S97 experiment 4",
        0.1,
        {"i": (-3.0, -6.0)},
    ),
    "temporal-order-2x2": Net(
        _memory(2, 2, cell_biases=True, out_biases=True),
        "H&S97 experiment 6a",
        0.1,
        {"i": (-2.0, -4.0)},
    ),
    "temporal-order-3x2": Net(
        _memory(3, 2, cell_biases=True, out_biases=True),
        "H&S97 experiment 6b",
        0.1,
        {"i": (-2.0, -4.0, -6.0)},
    ),
    "g00-4x2": Net(
        _memory(
            4,
            2,
            fields=Fields("4s-2", "2s-1"),
            out_biases=True,
            shortcuts=True,
        ),
        "G00, continual embedded Reber",
        0.2,
        {
            "i": (-0.5, -1.0, -1.5, -2.0),
            "f": (0.5, 1.0, 1.5, 2.0),
            "o": (-0.5, -1.0, -1.5, -2.0),
        },
    ),
}
