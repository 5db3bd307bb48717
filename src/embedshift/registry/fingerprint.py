"""What tells one function of a user's own from another, wherever it is defined."""

import functools
import hashlib
import json
from types import CodeType
from typing import Any


def fingerprint(thing: Any, besides: str = "") -> str:
    """What tells one function or callable object of a user's own from another.

    Args:
        thing: A function, a `functools.partial`, an object with `__call__`, or None.
        besides: More that tells them apart.

    Returns:
        Its name, "-", and a hash over its code, its state and `besides`.

    Example:
        >>> len({fingerprint(f) for f in (lambda x: x + 1, lambda x: x + 2, lambda x: x * 2)})
        3
    """
    state: Any = getattr(thing, "__dict__", None)
    if isinstance(thing, functools.partial):
        thing, state = thing.func, [thing.args, thing.keywords]
    name = "output" if thing is None else getattr(thing, "__qualname__", type(thing).__qualname__)
    code = getattr(thing if hasattr(thing, "__code__") else type(thing).__call__, "__code__", None)
    text = f"{besides}{_instructions(code)}"
    if state:
        text += json.dumps(state, default=lambda v: v.tolist() if hasattr(v, "tolist") else type(v).__qualname__)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _instructions(code: Any) -> Any:
    """A function's instructions, names and constants, those of functions inside it too; of a constant, its text."""
    if isinstance(code, frozenset):
        return sorted(map(repr, code))  # its own order changes from run to run
    if not isinstance(code, CodeType):
        return repr(code)
    return code.co_code, code.co_names, [_instructions(constant) for constant in code.co_consts]
