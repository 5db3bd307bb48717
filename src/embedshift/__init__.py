"""Measure how the embedding and the attention of a vision encoder change when an image changes.

Importing the package is quick: its names are imported on first use, and torch when an encoder is loaded.
"""

import importlib.metadata
from typing import TYPE_CHECKING

from embedshift.errors import EmbedshiftError, Transient
from embedshift.store import forked as _forked  # noqa: F401 - it watches forks from the first import on

if TYPE_CHECKING:
    from embedshift.api import (
        Study,
        Whitening,
        attack,
        check,
        compare,
        from_vectors,
        image_encoder,
        load,
        load_encoder,
        make_views,
        parity,
        run,
        whiten,
        wrap,
        write_views,
    )

__all__ = [
    "EmbedshiftError",
    "Study",
    "Transient",
    "Whitening",
    "attack",
    "check",
    "compare",
    "from_vectors",
    "image_encoder",
    "load",
    "load_encoder",
    "make_views",
    "parity",
    "run",
    "whiten",
    "wrap",
    "write_views",
]

__version__ = importlib.metadata.version("embedshift")


def __getattr__(name: str) -> object:
    """Imports the public names on first use, so that `embedshift --help` starts without them."""
    if name not in __all__:
        raise AttributeError(f"module 'embedshift' has no attribute {name!r}")
    from embedshift import api

    globals().update({each: vars(api)[each] for each in api.__all__})
    found: object = globals()[name]
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
