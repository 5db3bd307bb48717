"""The part of `ModuleEncoder` that makes its passes faster: shortcut, precision and kernels."""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor, nn

from embedshift.arrays import Pixels
from embedshift.config import Json, Precision
from embedshift.encoders.base import AttentionKind, EncoderOutput, usual_batch
from embedshift.encoders.device import device_name
from embedshift.encoders.kernels import CpuKernels
from embedshift.encoders.observations import Tap
from embedshift.encoders.speed import ClassTokenShortcut
from embedshift.encoders.structure import has_cls_token, last_block
from embedshift.encoders.trial import Subject, Trials
from embedshift.encoders.verdict import key_of, structure
from embedshift.encoders.weights import DTYPES, cast_for_now, cast_weights
from embedshift.errors import reason
from embedshift.registry import fingerprint

log = logging.getLogger(__name__)


class FasterPasses:
    """The contexts that `ModuleEncoder` enters around its passes, and how they are chosen."""

    name: str
    size: int
    precision: Precision
    device: torch.device
    module: nn.Module
    weights_hash: str
    grid: tuple[int, int] | None
    _embed: Callable[[nn.Module, Tensor], Tensor]
    _tower: nn.Module
    _tapped: nn.Module | None
    _kind: AttentionKind
    _shared: bool
    _taps: dict[str, Tap]
    _kernels: CpuKernels | None = None
    _shortcut: ClassTokenShortcut | None = None
    _equal: tuple[str, ...] = ()

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Runs one pass."""
        raise NotImplementedError

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels used in place of torch's own, as in `encoders.kernels`."""
        return self._kernels.names if self._kernels else ()

    @contextlib.contextmanager
    def taking(self, kernels: Collection[str]) -> Iterator[None]:
        """Inside the context exactly these kernels are used; torch's own if one is not available here."""
        before = self._kernels
        if tuple(kernels) != self.kernels:
            self._kernels = self._made([name for name in kernels if name in self._equal])
        if missing := [name for name in kernels if name not in self.kernels]:
            log.warning(
                "%s: the kernels %s, which this study used at the start, are not available here; torch's own are "
                "used, so numbers may differ by rounding", self.name, ", ".join(missing),
            )  # fmt: skip
        try:
            yield
        finally:
            self._kernels = before

    def __getstate__(self) -> Json:
        """Leaves out packed weights, which cannot be sent to another process."""
        return self.__dict__ | {"_kernels": self.kernels}

    def __setstate__(self, state: Json) -> None:
        """Packs the weights again if this processor can."""
        self.__dict__.update(state)
        self._kernels = self._made(state["_kernels"])

    def _make_faster(self, precision: Precision) -> None:
        """Applies what trials found to be equally exact and faster here."""
        trials = self._trials()
        block = last_block(self._tower)
        shortcut = None if block is None or not has_cls_token(self._tower) else ClassTokenShortcut(block)
        if shortcut:
            if trials.shortcut_holds(shortcut):
                self._shortcut = shortcut
            else:
                shortcut.remove()
        self.precision = trials.choose(precision)
        self._equal, taken = trials.equal(self.precision), trials.taken(self.precision)
        if self.precision != "float32" and not self._shared:
            cast_weights(self.module, DTYPES[self.precision])
        self._kernels = self._made(taken)

    def _trials(self) -> Trials:
        batch = usual_batch(self.device.type, self.grid)
        subject = Subject(
            run=self, at=self._at, module=self.module, name=self.name, size=self.size, batch=batch, device=self.device,
            own=self._shared,
        )  # fmt: skip
        tapped = next((name for name, part in self.module.named_modules() if part is self._tapped), None)
        about: Json = {
            "weights": self.weights_hash,
            "structure": structure(self.module),
            "embedding": fingerprint(self._embed),
            "attention": [tapped, self._kind],
            "size": self.size,
            "batch": batch,
            "device": device_name(self.device),
            "own": self._shared,
        }
        return Trials(subject, key_of(about))

    @contextlib.contextmanager
    def _at(self, precision: Precision) -> Iterator[None]:
        """Inside the context passes use another precision; only before weights are cast for good."""
        before, self.precision = self.precision, precision
        cast = precision != "float32" and not self._shared
        try:
            with cast_for_now(self.module, DTYPES[precision]) if cast else contextlib.nullcontext():
                yield
        finally:
            self.precision = before

    def _made(self, names: Collection[str]) -> CpuKernels | None:
        try:
            return CpuKernels(self.module, DTYPES[self.precision], names) if names else None
        except RuntimeError as error:  # sent here from another processor
            log.debug("%s: torch's own kernels (%s)", self.name, reason(error))
            return None

    def _shortcut_now(self) -> contextlib.AbstractContextManager[None]:
        spared = self._shortcut is not None and not any(tap.all_tokens for tap in self._taps.values())
        return self._shortcut if spared and self._shortcut else contextlib.nullcontext()
