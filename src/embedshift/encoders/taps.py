"""Taps: the torch calls inside the blocks of a tower, passed to all listeners while the blocks run.

Torch modes form a stack, and leaving one closes the topmost: of two modes in one block, each would end the other. So
each tower has one mode, which is active while a block runs that has a listener.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Kwargs = dict[str, Any]


class Listener:
    """Listens to a block. Each method is called while the block runs; its own torch calls are not passed on."""

    def begin(self, tokens: Tensor) -> None:
        """The block begins, with these tokens."""

    def heard(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Kwargs, result: Any) -> None:
        """The block called a torch function."""

    def multihead(self, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        """A `nn.MultiheadAttention` ran; calls inside it are not passed on."""

    def end(self, output: Any) -> None:
        """The block has ended with this output; None = it raised."""


class Taps(TorchFunctionMode):
    """The tap of one tower."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[nn.Module, list[Listener]] = {}
        self._handles: dict[nn.Module, list[Any]] = {}
        self._running: list[nn.Module] = []
        self._silent = False
        self._on = contextlib.ExitStack()

    def listen(self, block: nn.Module, listener: Listener) -> Callable[[], None]:
        """Passes the calls of a block to a listener until the returned function is called."""
        if block not in self._listeners:
            self._hook(block)
        self._listeners.setdefault(block, []).append(listener)
        return functools.partial(self._stop, block, listener)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Inside the context no listener is called, and torch uses the functions that it uses without a mode."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def _stop(self, block: nn.Module, listener: Listener) -> None:
        listeners = self._listeners.get(block, [])
        listeners[:] = [each for each in listeners if each is not listener]
        if not listeners:
            self._listeners.pop(block, None)
            for handle in self._handles.pop(block, []):
                handle.remove()

    def _hook(self, block: nn.Module) -> None:
        # In this order: a block may be such a part itself.
        handles: list[Any] = [block.register_forward_pre_hook(self._enter, with_kwargs=True)]
        for part in block.modules():
            if isinstance(part, nn.MultiheadAttention):
                handles.append(part.register_forward_pre_hook(self._before_multihead))
                handles.append(part.register_forward_hook(self._after_multihead, with_kwargs=True))
        handles.append(block.register_forward_hook(self._leave, always_call=True))
        self._handles[block] = handles

    def _enter(self, block: nn.Module, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        if self._silent:
            return
        if not self._running:
            self._on.enter_context(self)
        self._running.append(block)
        tokens = next((each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)), None)
        if tokens is not None:
            for listener in self._listeners[block]:
                listener.begin(tokens)

    def _leave(self, block: nn.Module, _inputs: Any, output: Any) -> None:
        if self._silent:
            return
        self._running.remove(block)
        if not self._running:
            self._on.close()
        for listener in self._listeners[block]:
            listener.end(output)

    def _before_multihead(self, *_: Any) -> None:
        self._on.close()

    def _after_multihead(self, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Kwargs, _: Any) -> None:
        for listener in self._now():
            listener.multihead(module, args, kwargs)
        if self._running:
            self._on.enter_context(self)

    def _now(self) -> list[Listener]:
        return [listener for block in self._running for listener in self._listeners[block]]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Kwargs | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for listener in self._now():
            listener.heard(func, args, kwargs or {}, result)
        return result
