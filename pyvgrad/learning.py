"""How a blob learns in integers: ``vg_learn`` of the C core, and what a trainer is.

``docs/numbers-learning.md`` says what the settings do.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass

from numpy.typing import ArrayLike

METHODS = ("tbptt", "rtrl97")
RULES = ("sgd", "momentum", "rmsprop")
LOSSES = ("mse", "cross-entropy")
PARTS = ("x", "h", "b")  # of a gate's weights: from x, from r or h, the bias

NESTEROV, SYMBOLS = 1, 2
READOUT_BIT = 31
FACTOR_ONE = 1 << 16

_FORM = struct.Struct("<BBBBHHIiiiiI")


@dataclass(frozen=True)
class Learn:
    """The settings of a training, as raw integers of the scales in their names.

    ``k1`` steps between updates (0: only at a sequence's end), ``k2`` steps looked back
    (0 for rtrl97).  ``frozen`` has bit k for layer k and bit 31 for the readout.
    ``symbols``: every x is the index of a one-hot input.  ``seed`` 0 rounds to nearest.
    ValueError for what ``vg_train_init`` would refuse whatever the model.
    """

    method: str = "tbptt"
    rule: str = "sgd"
    loss: str = "cross-entropy"
    nesterov: bool = False
    symbols: bool = False
    k1: int = 0
    k2: int = 0
    frozen: int = 0
    rate_q24: int = 1 << 24
    decay_q14: int = 0
    clip_q16: int = 0
    epsilon_q24: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("rule", RULES), ("loss", LOSSES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, "
                    f"not {getattr(self, name)!r}"
                )
        self._check("rate_q24", 0 < self.rate_q24 < 1 << 31, "above 0 and below 128")
        self._check("clip_q16", 0 <= self.clip_q16 < 1 << 31, "from 0 to below 32768")
        self._check("seed", 0 <= self.seed < 1 << 32, "from 0 to below 2^32")
        self._check("frozen", 0 <= self.frozen < 1 << 32, "a mask of 32 bits")
        self._check("k2", 0 <= self.k2 < 1 << 16, "from 0 to 65535")
        if self.method == "rtrl97":
            self._check("k1", self.k1 in (0, 1), "0 or 1 for rtrl97")
            self._check("k2", self.k2 == 0, "0 for rtrl97, which keeps no tape")
        else:
            self._check("k2", self.k2 >= 1, "1 at least for tbptt")
            self._check("k1", 0 <= self.k1 <= self.k2, "from 0 to k2", "k2")
        most = 0 if self.rule == "sgd" else (1 << 14) - 1
        self._check(
            "decay_q14",
            0 <= self.decay_q14 <= most,
            "from 0 to below 1, 0 for sgd",
            "rule",
        )
        rms = self.rule == "rmsprop"
        right = 0 < self.epsilon_q24 < 1 << 31 if rms else self.epsilon_q24 == 0
        self._check(
            "epsilon_q24", right, "above 0 and below 128 for rmsprop, else 0", "rule"
        )
        self._check(
            "nesterov",
            not self.nesterov or self.rule == "momentum",
            "an option of momentum",
            "rule",
        )

    def _check(self, name: str, right: bool, admitted: str, *others: str) -> None:
        """ValueError with the field's value and those of ``others`` it depends on."""
        if not right:
            what = name.partition("_")[0]
            values = ", ".join(f"{k}={getattr(self, k)}" for k in (name, *others))
            raise ValueError(f"{what} is {admitted}; got {values}")

    def to_bytes(self) -> bytes:
        """The 32 bytes of ``vg_learn``, little-endian."""
        return _FORM.pack(
            METHODS.index(self.method),
            RULES.index(self.rule),
            LOSSES.index(self.loss),
            NESTEROV * self.nesterov + SYMBOLS * self.symbols,
            self.k1,
            self.k2,
            self.frozen,
            self.rate_q24,
            self.decay_q14,
            self.clip_q16,
            self.epsilon_q24,
            self.seed,
        )

    @staticmethod
    def from_bytes(data: bytes) -> Learn:
        """The reverse.  ValueError for bytes that are no vg_learn."""
        try:
            method, rule, loss, flags, *rest = _FORM.unpack(data)
            names = METHODS[method], RULES[rule], LOSSES[loss]
        except (struct.error, IndexError) as error:
            raise ValueError(f"no settings of a training: {error}") from None
        if flags > NESTEROV + SYMBOLS:
            raise ValueError(f"no settings of a training: flags {flags}")
        return Learn(*names, bool(flags & NESTEROV), bool(flags & SYMBOLS), *rest)


@dataclass(frozen=True)
class Counters:
    """What a training counted; the fields of ``vg_train`` with these names."""

    sequences: int
    steps: int
    updates: int
    clipped: int
    falls: int
    saturated: int
    norm_q16: int
    loss_q16: int


class Trainer(ABC):
    """A blob in training: in NumPy, in C on this computer, or on a board.

    A context manager; ``close`` ends what it holds.
    """

    learn: Learn
    arena_bytes: int | None  # of vg_train_size; None where there is no arena

    @abstractmethod
    def teach(
        self, x: ArrayLike, target: ArrayLike, known: ArrayLike | None = None
    ) -> int:
        """Take T steps of the running sequence; return how often the weights changed.

        ``x`` is (T, n_in) int16 signals, or (T,) symbols if ``learn.symbols``.
        ``target`` is (T, n_out) on y_exp, or (T,) classes for a softmax; ``known`` (T,)
        is false where a step has no target, None means that all have one.  ValueError
        for another shape or a value out of range: then no step is taken.
        """

    @abstractmethod
    def end(self) -> int:
        """End the sequence: apply what is pending, then reset.  1: weights changed."""

    @abstractmethod
    def rate(self, layer: int, gate: int, part: str, factor_q16: int) -> None:
        """Set the factor of one tensor's rate; part is ``x``, ``h`` or ``b``.

        layer n_layers with gate 0 is the readout.  ValueError if there is none such.
        """

    @abstractmethod
    def tune(self, learn: Learn) -> None:
        """Change frozen, rate, decay, clip, epsilon and seed, and nothing else."""

    @abstractmethod
    def blob(self) -> bytes:
        """The weights as they are now, as a blob."""

    @abstractmethod
    def checkpoint(self) -> bytes:
        """The blob with the whole state of the training in it."""

    @property
    @abstractmethod
    def counters(self) -> Counters:
        """What was counted."""

    def close(self) -> None:  # noqa: B027  not abstract: most hold nothing
        """Give back what it holds."""

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
