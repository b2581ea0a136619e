"""Write small ONNX files in the shapes that exporters write, with inputs and outputs.

    python3 tools/make_onnx_fixtures.py FOLDER

For every style and net F.onnx, and F.npz with x (N, T, n_in) and what onnxruntime gives
for it, y. The same bytes each time. The tests make these files by themselves
(tests/onnx_graphs.py); the tool is for looking at them, and for other importers.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from onnx_graphs import STYLES, Net, export  # noqa: E402

from pyvgrad.onnx_import import from_proto  # noqa: E402
from pyvgrad.onnx_import_file import checked  # noqa: E402
from pyvgrad.onnx_import_run import FloatFile  # noqa: E402

KINDS = ("LSTM", "GRU", "RNN")
DIRECTIONS = ("forward", "reverse", "bidirectional")
TAKES = ("sequence", "last", "ends")


def main(folder: Path) -> int:
    """Write all files."""
    folder.mkdir(parents=True, exist_ok=True)
    every = product(STYLES, KINDS, DIRECTIONS, TAKES)
    for seed, (style, kind, direction, take) in enumerate(every):
        net = Net(kind, 2, direction, take, "Softmax", seed=seed)
        name = f"{style}-{kind.lower()}-{direction}-{take}"
        proto = checked(export(net, style), name)
        x = np.random.default_rng(seed).normal(size=(2, 6, net.n_in))
        y = FloatFile(from_proto(proto, name)).run(x, np.full(2, 6))
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
        np.savez(folder / f"{name}.npz", x=x, y=y)
    print(f"{seed + 1} files and their data in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
