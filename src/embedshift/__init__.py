"""Measure how the embedding and the attention of a vision encoder change when an image changes.

Importing the package is quick: its names are imported on first use, and torch when an encoder is loaded.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from embedshift.errors import EmbedshiftError, Transient
from embedshift.store.forked import watch_forks as _watch_forks

if TYPE_CHECKING:
    from embedshift.api import attack, from_vectors, run, write_views
    from embedshift.augmentations.views import make_views
    from embedshift.encoders import load_encoder
    from embedshift.encoders.images import image_encoder
    from embedshift.encoders.module import wrap
    from embedshift.pipeline.tiles import Tiles
    from embedshift.questions.check.check import check
    from embedshift.questions.compare.result import compare
    from embedshift.questions.index.result import fit_index
    from embedshift.questions.meaning.namer import name_images
    from embedshift.questions.upgrade.result import upgrade
    from embedshift.stacks import parity
    from embedshift.statistics.index import SearchIndex
    from embedshift.statistics.whitening import Whitening
    from embedshift.study import Study, load

__all__ = [
    "EmbedshiftError",
    "SearchIndex",
    "Study",
    "Tiles",
    "Transient",
    "Whitening",
    "attack",
    "check",
    "compare",
    "fit_index",
    "from_vectors",
    "image_encoder",
    "load",
    "load_encoder",
    "make_views",
    "name_images",
    "parity",
    "run",
    "upgrade",
    "wrap",
    "write_views",
]

__version__ = importlib.metadata.version("embedshift")

_watch_forks()  # from the first import on


# Where a name is defined: each is imported alone, on its first use.
_MODULES = {
    "SearchIndex": "statistics.index",
    "Study": "study",
    "Tiles": "pipeline.tiles",
    "Whitening": "statistics.whitening",
    "attack": "api",
    "check": "questions.check.check",
    "compare": "questions.compare.result",
    "fit_index": "questions.index.result",
    "from_vectors": "api",
    "image_encoder": "encoders.images",
    "load": "study",
    "load_encoder": "encoders",
    "make_views": "augmentations.views",
    "name_images": "questions.meaning.namer",
    "parity": "stacks",
    "run": "api",
    "upgrade": "questions.upgrade.result",
    "wrap": "encoders.module",
    "write_views": "api",
}
# Those whose modules import torch.
_ENCODE = ("parity", "wrap")


def __getattr__(name: str) -> object:
    """Imports a public name on its first use, so that `embedshift --help` starts without them."""
    if name == "whiten":
        raise AttributeError("embedshift.whiten is gone: `embedshift.fit_index` takes its place")
    if name not in _MODULES:
        raise AttributeError(f"module 'embedshift' has no attribute {name!r}")
    if name in _ENCODE:
        from embedshift.registry.extras import need_encode

        need_encode(f"embedshift.{name}")
    value: object = getattr(importlib.import_module(f"embedshift.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
