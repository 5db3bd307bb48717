"""BlockHooks: passes the torch calls inside the blocks of a tower to all hooks.

Torch modes form a stack, and leaving one closes the topmost, so two modes in one block would end each other. Therefore
each tower has one mode, active while a block with a hook runs.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Kwargs = dict[str, Any]


class BlockHook:
    """Listener of a block, called while the block runs; its own torch calls are not passed on."""

    def begin(self, tokens: Tensor) -> None:
        """The block begins, with these tokens."""

    def on_call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Kwargs, result: Any) -> None:
        """The block called a torch function."""

    def multihead(self, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        """A `nn.MultiheadAttention` ran; calls inside it are not passed on."""

    def end(self, output: Any) -> None:
        """The block ended with this output; None = it raised."""


class BlockHooks(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self._hooks: dict[nn.Module, list[BlockHook]] = {}
        self._handles: dict[nn.Module, list[Any]] = {}
        self._running: list[nn.Module] = []
        self._silent = False
        self._on = contextlib.ExitStack()

    def listen(self, block: nn.Module, hook: BlockHook) -> Callable[[], None]:
        if block not in self._hooks:
            self._hook(block)
        self._hooks.setdefault(block, []).append(hook)
        return functools.partial(self._stop, block, hook)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Context without hooks, in which torch uses its usual functions."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def _stop(self, block: nn.Module, hook: BlockHook) -> None:
        hooks = self._hooks.get(block, [])
        hooks[:] = [kept for kept in hooks if kept is not hook]
        if not hooks:
            self._hooks.pop(block, None)
            for handle in self._handles.pop(block, []):
                handle.remove()

    def _hook(self, block: nn.Module) -> None:
        # In this order: a block may itself be such a part.
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
        tokens = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if tokens is not None:
            for hook in self._hooks[block]:
                hook.begin(tokens)

    def _leave(self, block: nn.Module, _inputs: Any, output: Any) -> None:
        if self._silent:
            return
        self._running.remove(block)
        if not self._running:
            self._on.close()
        for hook in self._hooks[block]:
            hook.end(output)

    def _before_multihead(self, *_: Any) -> None:
        self._on.close()

    def _after_multihead(self, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Kwargs, _: Any) -> None:
        for hook in self._running_hooks():
            hook.multihead(module, args, kwargs)
        if self._running:
            self._on.enter_context(self)

    def _running_hooks(self) -> list[BlockHook]:
        return [hook for block in self._running for hook in self._hooks[block]]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Kwargs | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for hook in self._running_hooks():
            hook.on_call(func, args, kwargs or {}, result)
        return result
