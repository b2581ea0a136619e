"""The grid of test_learn_agreement on every emulated core.

There NumPy equals the host; here each core does, so that all three are equal.
"""

import numpy as np
import pytest
from test_learn_agreement import (
    GRID,
    UPDATES,
    grid_settings,
    lively_model,
    random_steps,
    values_near_one,
)

from pyvgrad.blob import pack
from pyvgrad.board import MACHINES
from pyvgrad.device_train import DeviceTrainer
from pyvgrad.errors import RoomError
from pyvgrad.native_train import HostTrainer

LONGEST = 8  # steps of a sequence


def place_of_the_grid(place):
    """A blob, its settings, and lessons without end."""
    method, rule, cell, output, loss = GRID[place]
    rng = np.random.default_rng(1000 + place)
    learn = grid_settings(rng, method, rule, loss)
    layers = 2 if method == "tbptt" and place % 5 == 0 else 1
    model = lively_model(rng, learn, cell=cell, n_layers=layers, output=output)

    def lesson():
        return values_near_one(
            rng, model, random_steps(rng, model, learn, most=LONGEST)
        )

    return pack(model), learn, lesson


@pytest.mark.parametrize("core", MACHINES)
@pytest.mark.parametrize("part", range(4))
def test_a_thousand_updates_leave_the_host_s_bits(core, part):
    for place in range(part, len(GRID), 4):
        blob, learn, lesson = place_of_the_grid(place)
        with HostTrainer(blob, learn) as host:
            try:
                board = DeviceTrainer(blob, learn, core)
            except RoomError:
                pytest.fail(f"{GRID[place]} does not fit into {core}")
            with board:
                while host.counters.updates < UPDATES:
                    x, target, known = lesson()
                    for trainer in (host, board):
                        trainer.teach(x, target, known)
                        trainer.end()
                assert board.counters == host.counters, GRID[place]
                assert board.blob() == host.blob() != blob, GRID[place]
