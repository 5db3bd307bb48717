"""A section for the model card of an encoder: what was measured, the numbers, their limits, and how to repeat it."""

import datetime
import re
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from embedshift.config import PAIRS, VECTORS, StudyConfig
from embedshift.errors import UsageError
from embedshift.report.page import templates
from embedshift.statistics.summary import COSINE
from embedshift.store.info import FILE
from embedshift.store.naming import ImageNaming
from embedshift.store.reader import Reader
from embedshift.study.shown import escaped, printable

# What study.json calls augmentations that were given in Python.
IN_PYTHON = "custom"
_NO_SUITES = (IN_PYTHON, PAIRS, VECTORS)
# Settings that decide no number, and those that the command names otherwise.
_LEFT_OUT = frozenset(
    ("images", "model", "pairs", "device", "engine", "workers", "num_gpus", "concurrency", "image_timeout")
)
_CITATION = """@software{embedshift,
  title   = {embedshift},
  author  = {{The embedshift contributors}},
  version = {%s}
}

@inproceedings{dahal2025embedding,
  title     = {Embedding Shift Dissection on {CLIP}: Effects of Augmentations on {VLM}'s Representation Learning},
  author    = {Dahal, Ashim and Murad, Saydul Akbar and Rahimi, Nick},
  booktitle = {Proceedings of the Computer Vision and Pattern Recognition Conference (CVPR) Workshops},
  pages     = {4814--4818},
  year      = {2025},
  note      = {arXiv:2503.23495}
}"""


def card(reader: Reader) -> str:
    if not reader.is_complete():
        raise reader.unfinished()
    summary = reader.table("summary")
    if summary is None:
        raise UsageError(f"{reader.folder}: has no table `summary`; make the report again")
    info, rows = reader.info, summary.filter(metric=COSINE).sort("relative_shift", descending=True, nulls_last=True)
    search = reader.table("search")
    found = [] if search is None else search.filter(metric="recall@1").drop_nulls("value").to_dicts()
    return _template().render(
        info=info,
        encoder=reader.naming.setting(info.encoder.name),
        weights="".join(letter for letter in info.encoder.weights_hash if letter.isalnum())[:64],
        day=datetime.datetime.fromtimestamp((reader.folder / FILE).stat().st_mtime, datetime.UTC).date(),
        rows=rows.to_dicts(),
        recall={row["augmentation"]: row for row in found},
        baseline=next(iter(rows["baseline"].drop_nulls()), None),
        lacks_scale=rows["relative_shift"].has_nulls(),
        command=fenced(_command(reader), "sh"),
        citation=fenced(_CITATION % printable(info.embedshift), "bibtex"),
    )


def _template() -> jinja2.Template:
    """Returns the template of the section, which escapes all values but `Markup`, as Markdown."""
    environment = templates().overlay(
        loader=jinja2.PackageLoader("embedshift.study", "template"),
        finalize=lambda value: value if isinstance(value, Markup) else Markup(escaped(str(value))),
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2")


def _command(reader: Reader) -> str:
    info, naming = reader.info, reader.naming
    settings = naming.settings(info.config)
    pairs = [_pair(str(pair), naming) for pair in info.config.get("pairs") or ()]
    words = ["run", "--pairs", "ORIGINALS", *pairs] if pairs else ["run", "IMAGES"]
    if not info.has_pixels:
        words = ["vectors", "VECTORS", *(["--views", "views.json"] if info.source["kind"] == "views" else [])]
        settings["draws"] = StudyConfig.draws  # those of the vectors
    words += ["--model", naming.setting(str(info.config["model"])), *_flags(settings)]
    return " ".join(printable(shlex.quote(word)) for word in ["embedshift", *words, "--out", "study"])


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


def fenced(text: str, language: str) -> Markup:
    """Returns a block of code whose fence is longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return Markup(f"{fence}{language}\n{text}\n{fence}")
