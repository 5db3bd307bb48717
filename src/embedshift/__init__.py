"""Measures how a vision encoder's embedding and attention move when an image is changed.

Importing this imports no torch; loading an encoder does.
"""

import importlib.metadata

from embedshift.api import compare, load_encoder, make_views, run, wrap
from embedshift.errors import EmbedshiftError
from embedshift.results import Study, load

__all__ = ["EmbedshiftError", "Study", "compare", "load", "load_encoder", "make_views", "run", "wrap"]

__version__ = importlib.metadata.version("embedshift")
