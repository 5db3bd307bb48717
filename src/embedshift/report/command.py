"""The command that makes a study: its settings without local paths, so that another person can repeat it."""

import re
from collections.abc import Mapping
from typing import Any

from embedshift.config import PAIRS, VECTORS, StudyConfig
from embedshift.store.naming import ImageNaming
from embedshift.store.reader import Reader

# What study.json calls augmentations that were given in Python.
IN_PYTHON = "custom"
_NO_SUITES = (IN_PYTHON, PAIRS, VECTORS)
# Settings that decide no number, and those that the command names otherwise.
_LEFT_OUT = frozenset(
    ("images", "model", "pairs", "device", "engine", "workers", "num_gpus", "concurrency", "image_timeout")
)


def command_of(reader: Reader, out: str, *, named: bool = True) -> list[str]:
    """Returns the words of the command, which runs in the folder above the images.

    Args:
        reader: The study.
        out: Its folder.
        named: Whether images are named as they were given, or by IMAGES.
    """
    info, naming = reader.info, reader.naming
    settings = naming.settings(info.config)
    pairs = [_pair(str(pair), naming) for pair in info.config.get("pairs") or ()]
    words = ["run", "--pairs", "ORIGINALS", *pairs] if pairs else ["run", *(_images(reader) if named else ["IMAGES"])]
    if not info.has_pixels:
        words = ["vectors", "VECTORS", *(["--views", "views.json"] if info.source["kind"] == "views" else [])]
        settings["draws"] = StudyConfig.draws  # those of the vectors
    words += ["--model", naming.setting(str(info.config["model"])), *_flags(settings)]
    return ["embedshift", *words, "--out", out]


def _images(reader: Reader) -> list[str]:
    return reader.naming.places(reader.info.config["images"]) or ["IMAGES"]


def _pair(text: str, naming: ImageNaming) -> str:
    name, path = re.fullmatch(r"([^/=]+=)?(.*)", text, re.DOTALL).groups("")  # type: ignore[union-attr]
    return f"{name}{naming.setting(path)}"


def _flags(config: Mapping[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, default in StudyConfig().to_dict().items():
        value, default = (
            list(given) if isinstance(given, tuple) else given for given in (config.get(name, default), default)
        )
        if name in _LEFT_OUT or value in (default, None) or (name == "augmentations" and value in _NO_SUITES):
            continue
        flag = f"--{name.replace('_', '-')}"
        words = map(str, value if isinstance(value, list) else [value])
        flags += [flag] if value is True else [flag, ",".join(words)]
    return flags
