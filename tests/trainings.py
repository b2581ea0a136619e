"""Trainings in the C core with all memory they live in, and what they learn from."""

from __future__ import annotations

import importlib
import struct

import numpy as np
from random_models import random_qmodel, random_signals

from pyvgrad.blob import pack
from pyvgrad.learning import RULES, Learn
from pyvgrad.model import init_params
from pyvgrad.nets import stack
from pyvgrad.quantize import quantize

CANARY = 64  # bytes before and after an arena
LOSSES = {
    "linear": ["mse"],
    "logistic": ["mse", "cross-entropy"],
    "softmax": ["cross-entropy"],
}


class Memory:
    """Bytes for the core, aligned to 4 and no better, between canaries."""

    def __init__(self, ffi, size, fill=0x5AA5):
        self.ffi, self.size = ffi, size
        self.words = ffi.new("uint32_t[]", (size + 3) // 4 + CANARY // 2 + 1)
        pattern = struct.pack("<H", fill)
        self.buffer = ffi.buffer(self.words)
        self.buffer[:] = pattern * (len(self.buffer) // 2)
        self.outside = pattern * (CANARY // 2)
        self.at = ffi.cast("uint8_t *", self.words) + CANARY

    def bytes(self):
        return bytes(self.buffer)

    def whole(self):
        """Nothing outside was written."""
        end = CANARY + self.size
        return (
            self.buffer[:CANARY] == self.outside
            and self.buffer[end : end + CANARY] == self.outside
        )


class Training:
    """A vg_train of a blob; ``learn`` None goes on from a checkpoint.

    ``in_place``: the blob lies at the start of the arena.  ``bad`` holds what
    vg_train_init said, if it refused.
    """

    def __init__(self, blob, learn, *, fill=0x5AA5, in_place=False, module=None):
        core = module or importlib.import_module("pyvgrad._vgrad")
        self.ffi, self.lib = core.ffi, core.lib
        self.blob = Memory(self.ffi, len(blob), fill)
        self.model = self.ffi.new("vg_model *")
        self.t = self.ffi.new("vg_train *")
        self.ffi.memmove(self.blob.at, blob, len(blob))
        assert self.open(self.blob.at, len(blob)) == 0
        self.raw = self.settings(learn)
        self.size = self.lib.vg_train_size(self.model, self.raw)
        self.arena = Memory(self.ffi, max(self.size, 0), fill)
        if in_place and self.size >= 0:
            self.ffi.memmove(self.arena.at, blob, len(blob))
            assert self.open(self.arena.at, len(blob)) == 0
        self.bad = self.init()

    def open(self, at, size):
        return self.lib.vg_model_open(self.model, at, size)

    def settings(self, learn):
        """A vg_learn; bytes are taken as they are."""
        if learn is None:
            return self.ffi.NULL
        data = learn if isinstance(learn, bytes) else learn.to_bytes()
        raw = self.ffi.new("vg_learn *")
        self.ffi.memmove(raw, data, self.ffi.sizeof("vg_learn"))
        return raw

    def init(self):
        return self.lib.vg_train_init(
            self.t, self.model, self.raw, self.arena.at, max(self.size, 0)
        )

    def memory(self):
        """All bytes of it."""
        kept = [bytes(self.ffi.buffer(p)) for p in (self.t, self.model)]
        return [*kept, self.arena.bytes(), self.blob.bytes()]

    # ---- what it learns from ------------------------------------------------

    @property
    def learn(self):
        return Learn.from_bytes(bytes(self.ffi.buffer(self.t)[self._learn_at()]))

    def _learn_at(self):
        at = self.ffi.offsetof("vg_train", "learn")
        return slice(at, at + self.ffi.sizeof("vg_learn"))

    def sigs(self, values):
        if values is None:
            return self.ffi.NULL
        a = np.ascontiguousarray(values, np.int16)
        return self.ffi.new("vg_sig[]", a.ravel().tolist() or [0])

    def step(self, x, target=None, *, with_y=True):
        """(changed, y) of one step; x is a symbol or signals."""
        out = self.ffi.new("vg_sig[]", self.t.model.n_out)
        y = out if with_y else self.ffi.NULL
        if np.ndim(x) == 0:
            got = self.lib.vg_train_symbol(self.t, int(x), self.sigs(target), y)
        else:
            got = self.lib.vg_train_step(self.t, self.sigs(x), self.sigs(target), y)
        return got, list(out)

    def steps(self, x, target, known=None):
        mask = self.ffi.NULL
        if known is not None:
            mask = self.ffi.new("uint8_t[]", [int(k) for k in known] or [0])
        if np.ndim(x) == 1:
            call = self.lib.vg_train_symbols
            raw = self.ffi.new("uint16_t[]", [int(s) for s in x] or [0])
        else:
            call, raw = self.lib.vg_train_steps, self.sigs(x)
        return call(self.t, raw, self.sigs(target), mask, len(x))

    def end(self):
        return self.lib.vg_train_end(self.t)

    # ---- what it gives ------------------------------------------------------

    def _sealed(self, call, arena=None):
        size = self.ffi.new("uint32_t *")
        at = self.ffi.cast("char *", call(self.t, size))
        assert at == self.ffi.cast("char *", arena or self.arena.at)
        return bytes(self.ffi.buffer(at, size[0]))

    def plain_in(self, arena):
        """The plain blob of a training in another arena."""
        return self._sealed(self.lib.vg_train_blob, arena)

    def plain(self):
        return self._sealed(self.lib.vg_train_blob)

    def checkpoint(self):
        return self._sealed(self.lib.vg_train_checkpoint)

    def counters(self):
        names = ("sequences", "steps", "updates", "clipped", "falls", "saturated")
        return [getattr(self.t, n) for n in (*names, "norm_q16", "loss_q16")]


class Runner:
    """A run of a blob in the C core."""

    def __init__(self, blob):
        core = importlib.import_module("pyvgrad._vgrad")
        self.ffi, self.lib = core.ffi, core.lib
        self.blob = Memory(self.ffi, len(blob))
        self.ffi.memmove(self.blob.at, blob, len(blob))
        self.model, self.r = self.ffi.new("vg_model *"), self.ffi.new("vg_run *")
        assert self.lib.vg_model_open(self.model, self.blob.at, len(blob)) == 0
        size = self.lib.vg_run_size(self.model)
        self.arena = Memory(self.ffi, size)
        got = self.lib.vg_run_init(self.r, self.model, self.arena.at, size)
        assert got == 0

    def step(self, x):
        y = self.ffi.new("vg_sig[]", self.model.n_out)
        if np.ndim(x) == 0:
            assert self.lib.vg_run_symbol(self.r, int(x), y) == 0
        else:
            raw = self.ffi.new("vg_sig[]", np.asarray(x).tolist())
            self.lib.vg_run_step(self.r, raw, y)
        return list(y)


# ---- random ones ------------------------------------------------------------


def make(*, method="tbptt", rule="sgd", **more):
    """Settings that fit each other; ``more`` wins.  ``rule`` may be nesterov."""
    fixed = {
        "method": method,
        "rule": "momentum" if rule == "nesterov" else rule,
        "nesterov": rule == "nesterov",
        "k2": 4 if method == "tbptt" else 0,
        "rate_q24": 1 << 19,
        "decay_q14": 0 if rule == "sgd" else 14000,
        "epsilon_q24": 1 << 14 if rule == "rmsprop" else 0,
    }
    return Learn(**{**fixed, **more})


def random_learn(rng, model, method=None):
    """Any admitted settings for the model."""
    methods = ["tbptt", "rtrl97"] if model.shape.rtrl97 else ["tbptt"]
    method = str(rng.choice(methods)) if method is None else method
    k2 = int(rng.integers(1, 7)) if method == "tbptt" else 0
    return make(
        method=method,
        rule=str(rng.choice([*RULES, "nesterov"])),
        loss=str(rng.choice(LOSSES[model.shape.output])),
        symbols=bool(rng.random() < 0.4),
        k1=int(rng.integers(0, (k2 if method == "tbptt" else 1) + 1)),
        k2=k2,
        rate_q24=1 << int(rng.integers(12, 22)),
        clip_q16=int(rng.choice([0, 0, 1 << 12, 1 << 16, 7 << 16])),
        seed=int(rng.choice([0, 1, 2**32 - 1])),
    )


def random_lesson(rng, model, learn, steps):
    """x, target, known of a sequence, values near one."""
    shape = model.shape
    if learn.symbols:
        x = rng.integers(0, shape.n_in, steps)
    else:
        x = rng.uniform(-1, 1, (steps, shape.n_in)) * 2.0**model.x_exp
        x = np.clip(x, -32768, 32767).astype(np.int16)
    if shape.output == "softmax":
        target = rng.integers(0, shape.n_out, steps)
    elif shape.output == "logistic":
        target = rng.integers(0, 16385, (steps, shape.n_out))
    else:
        target = random_signals(rng, (steps, shape.n_out))
    return x, target.astype(np.int16), rng.random(steps) < 0.7


def teach(training, lesson, at=slice(None), *, with_y=True):
    """Step by step; the lesson's part ``at``."""
    x, target, known = (part[at] for part in lesson)
    done = []
    for row, aim, has in zip(x, target, known, strict=True):
        done.append(training.step(row, aim if has else None, with_y=with_y))
        assert done[-1][0] in (0, 1)
    return done


def small_model(seed, **kind):
    """A model with 16 bits and no sections, but for what ``kind`` says."""
    fixed = {"n_in": 3, "n_out": 2, "n_max": 4, "bits": 16, "sections": False}
    return random_qmodel(np.random.default_rng(seed), **{**fixed, **kind})


def tame_model(seed, cell="lstm", sizes=(3, 4, 2), *, bits=16, **kind):
    """A model of ``stack`` whose weights are within +-1/2, on the best exponents."""
    shape = stack(cell, sizes, **kind)
    params = init_params(shape, np.random.default_rng(seed), scale=0.5)
    return quantize(shape, params, weight_bits=bits)


def blob_of(model):
    return pack(model)
