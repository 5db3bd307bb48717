"""Refusals: the one line that a user gets instead of an encoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedshift import EmbedshiftError, load_encoder


def refused(
    model: str | Path, *words: str, code: int = 1, load: Callable[..., Any] = load_encoder, **settings: Any
) -> str:
    """The line with which loading is refused; it holds all the words."""
    with pytest.raises(EmbedshiftError) as caught:
        load(str(model), **settings)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert caught.value.exit_code == code, line
    for word in words:
        assert word in line
    return line
