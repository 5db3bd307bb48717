"""Helpers that the loaders of open_clip and timm share."""

import importlib
from typing import Any

from embedshift.config.safe_files import expanded
from embedshift.errors import MissingExtra

# Names of filters → Pillow's numbers.
RESAMPLE = {"bilinear": 2, "bicubic": 3}


def library(name: str, extra: str = "openclip") -> Any:
    """Imports an optional library; EmbedshiftError with what to install if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(f"a model of {name}", extra) from error


def display_name(library: str, model: str) -> str:
    """Returns a model's name in tables and reports: a local folder's name, else the name that loads it."""
    if not model.startswith("local-dir:"):
        return f"{library}:{model}"
    return expanded(model.removeprefix("local-dir:")).resolve().name
