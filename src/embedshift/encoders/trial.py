"""Trials: measure what makes an encoder's passes faster on this machine; a verdict keeps the results.

A kernel is used if it gives the output of torch's own kernel and is faster; each kernel is tested by itself. The two
alternate during a measurement, so that other load on the machine affects both.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from embedshift.arrays import Pixels
from embedshift.config import Precision
from embedshift.encoders.base import EncoderOutput
from embedshift.encoders.calls import FEWEST, Calls, fitting, timed
from embedshift.encoders.device import keep_memory
from embedshift.encoders.kernels import KERNELS, CpuKernels
from embedshift.encoders.speed import ClassTokenShortcut, same_output
from embedshift.encoders.verdict import Cost, Verdict, read_verdict
from embedshift.encoders.weights import DTYPES
from embedshift.errors import reason
from embedshift.statistics.vectors import cosine

log = logging.getLogger(__name__)

# The least speed-up at which a kernel is used; noise does not reverse it.
FASTER = 1.03
# The largest cosine distance of embeddings to those in float32 with which `precision` auto takes a lower one.
MOST_ERROR = 0.01
PICTURES = 4
# Duration of a timed pass, in seconds.
PASS = 0.15


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An encoder as trials see it."""

    run: Callable[[Pixels], EncoderOutput]
    at: Callable[[Precision], AbstractContextManager[None]]
    module: nn.Module
    name: str
    size: int
    batch: int
    device: torch.device
    own: bool


class Trials:
    """The trials of one encoder; results that its verdict has are not measured again."""

    def __init__(self, subject: Subject, key: str) -> None:
        self._subject, self._key = subject, key
        found = read_verdict(key)
        # Exactness is tested again if the code may differ; speed does not change the output.
        self._verdict: Verdict = replace(found, shortcut=None, equal={}) if subject.own else found

    def shortcut_holds(self, shortcut: ClassTokenShortcut) -> bool:
        """Returns whether the shortcut leaves embedding and attention of two random images unchanged."""
        if self._verdict.shortcut is None:
            self._learn(shortcut=self._try_shortcut(shortcut))
        return bool(self._verdict.shortcut)

    def equal(self, precision: Precision) -> tuple[str, ...]:
        """Returns the kernels whose output equals that of torch's own, up to rounding."""
        if precision not in self._verdict.equal:
            with self._subject.at(precision):
                self._try_kernels(precision)
        return self._verdict.equal[precision]

    def taken(self, precision: Precision) -> tuple[str, ...]:
        """Returns those of them that are faster."""
        equal = self.equal(precision)
        return tuple(name for name in equal if self._verdict.factors[precision][name] >= FASTER)

    def cost(self, precision: Precision) -> Cost:
        """Returns what a lower precision costs and saves, each with the kernels that are used in it."""
        if precision not in self._verdict.costs:
            self._learn(costs={**self._verdict.costs, precision: self._try_cost(precision)})
        return self._verdict.costs[precision]

    def choose(self, asked: Precision) -> Precision:
        """Returns the requested precision; for "auto" the fastest whose embeddings are close to float32."""
        if asked == "auto":
            return self._fastest()
        if asked != "float32" and self._subject.device.type == "cpu" and (times := self.cost(asked).times) > FASTER:
            log.warning(
                "`precision` %s takes %.1f times as long as float32 on this processor: use `precision` float32 or auto",
                asked, times,
            )  # fmt: skip
        return asked

    def _fastest(self) -> Precision:
        lower: tuple[Precision, ...] = ("bfloat16", "float16") if self._subject.device.type == "cuda" else ("bfloat16",)
        best: Precision = "float32"
        least, words = 1 / FASTER, []
        for each in lower:
            try:
                cost = self.cost(each)
            except Exception as error:  # a device that cannot do it
                words.append(f"{each} cannot be computed here ({reason(error)[:100]})")
                continue
            words.append(f"{each} {_in_words(cost)}")
            if cost.largest is not None and cost.largest <= MOST_ERROR and cost.times < least:
                best, least = each, cost.times
        log.info("`precision` auto is %s for %s: %s", best, self._subject.name, "; ".join(words))
        return best

    def _learn(self, **found: Any) -> None:
        self._verdict = replace(self._verdict, **found)
        self._verdict.write(self._key)

    def _try_shortcut(self, shortcut: ClassTokenShortcut) -> bool:
        images, short = self._noise(), None
        with self._subject.at("float32"):  # distinguishes values that a lower precision would merge
            plain = self._subject.run(images)
            shortcut.wild = True
            try:
                with shortcut:
                    short = self._subject.run(images)
            except Exception as error:  # a block with another structure
                log.debug("%s: no shortcut (%s)", self._subject.name, reason(error))
            shortcut.wild = False
        return short is not None and same_output(plain, short)

    def _try_kernels(self, precision: Precision) -> None:
        keep_memory()  # as a study does: it is a large part of the time of some kernels
        dtype, found = DTYPES[precision], list[str]()
        factors = {**self._verdict.factors.get(precision, {})}
        names = KERNELS.get(dtype, ()) if self._subject.device.type == "cpu" else ()
        if names:
            images = self._noise()
            plain, calls = self._subject.run(images), Calls()
            with calls:
                self._subject.run(images[:1])
        for name in names:
            try:
                kernels = CpuKernels(self._subject.module, dtype, [name])
                with kernels:
                    fast = self._subject.run(images)
            except Exception as error:  # an older torch, another processor
                log.debug("%s: torch's own %s (%s)", self._subject.name, name, reason(error))
                continue
            if same_output(plain, fast, 1e-3 if precision == "float32" else 0.1):
                found.append(name)
                factors[name] = factors.get(name) or calls.times_as_fast(kernels, dtype, self._subject.batch)
        self._learn(
            equal={**self._verdict.equal, precision: tuple(found)},
            factors={**self._verdict.factors, precision: factors},
        )

    def _try_cost(self, low: Precision) -> Cost:
        ways: tuple[Precision, ...] = ("float32", low)
        at_work = {way: self._kernels(way) for way in ways}
        pictures = _pictures(PICTURES, self._subject.size)

        def run(way: Precision, count: int) -> tuple[float, EncoderOutput]:
            with self._subject.at(way), at_work[way]:
                views = np.resize(pictures, (count, *pictures.shape[1:]))
                return timed(lambda: self._subject.run(views))

        for way in ways:
            run(way, 1)
        slower = max(run(way, 1)[0] for way in ways)
        count = fitting(self._subject.batch, PASS, slower)
        taken: list[list[float]] = [[], []]
        for _ in range(FEWEST):
            for way, seconds in zip(ways, taken, strict=True):
                seconds.append(run(way, count)[0])
        times = max(min(taken[1]), 1e-9) / max(min(taken[0]), 1e-9)
        if times >= 1:
            return Cost(times=times)
        distances = 1 - cosine(*(run(way, PICTURES)[1].embedding for way in ways))
        if not np.isfinite(distances).all():
            return Cost(times=times)
        return Cost(times=times, largest=float(distances.max()), mean=float(distances.mean()), pictures=PICTURES)

    def _kernels(self, precision: Precision) -> AbstractContextManager[Any]:
        taken = self.taken(precision)
        if not taken:
            return nullcontext()
        with self._subject.at(precision):
            return CpuKernels(self._subject.module, DTYPES[precision], taken)

    def _noise(self) -> Pixels:
        size = self._subject.size
        return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)


def _pictures(count: int, size: int) -> Pixels:
    """Returns images of random squares, large and small, `[count, size, size, 3]`: closer to photographs than noise."""
    rng = np.random.default_rng(1)
    found = np.zeros((count, size, size, 3))
    for parts, fraction in ((4, 0.5), (16, 0.3), (size, 0.2)):
        side = -(-size // parts)
        squares = rng.uniform(0, 255, (count, parts, parts, 3))
        found += fraction * squares.repeat(side, axis=1).repeat(side, axis=2)[:, :size, :size]
    return found.astype(np.uint8)


def _in_words(cost: Cost) -> str:
    if cost.largest is None:
        return f"takes {cost.times:.1f} times as long as float32" if cost.times >= 1 else "gives no finite numbers"
    return (
        f"is {1 / cost.times:.1f} times as fast as float32; cosine distance of its embeddings from "
        f"those in float32: at most {cost.largest:.1g}, on average {cost.mean:.1g} ({cost.pictures} images)"
    )
