"""A section for the model card of an encoder: what was measured, the numbers, their limits, and how to repeat it."""

import datetime
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from embedshift.config import PAIRS, Json, StudyConfig
from embedshift.errors import UsageError
from embedshift.report.numbers import MISSING, count, in_percent, listed, with_interval
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.summary import COSINE
from embedshift.store.info import FILE
from embedshift.store.naming import ImageNaming
from embedshift.store.reader import Reader
from embedshift.study.markdown import escaped, printable, table

HEADING = "## How far the embedding moves when an image changes"
RECALL = "recall@1"
# What study.json calls augmentations that were given in Python.
IN_PYTHON = "custom"
# Settings that decide no number, and those that the command names otherwise.
_LEFT_OUT = frozenset(
    ("images", "model", "pairs", "device", "engine", "workers", "num_gpus", "concurrency", "image_timeout")
)
_PAPER = """@inproceedings{dahal2025embedding,
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
    rows = summary.filter(metric=COSINE).sort("relative_shift", descending=True, nulls_last=True).to_dicts()
    parts = [HEADING, _facts(reader), _relative_shifts(reader, rows), _how_to_read(reader, rows)]
    parts += [
        "### Limits",
        _limits(reader),
        "### How to repeat it",
        _command(reader),
        "### Citation",
        _citation(reader),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(reader: Reader) -> str:
    info, encoder = reader.info, reader.info.encoder
    draws = f", {count(info.draws, 'draw')} each" if info.draws > 1 else ""
    day = datetime.datetime.fromtimestamp((reader.folder / FILE).stat().st_mtime, datetime.UTC).date()
    facts = [
        ("Encoder", escaped(reader.naming.setting(encoder.name))),
        *([("Revision", escaped(encoder.revision))] if encoder.revision else []),
        ("Hash of the weights", f"`{_hex(encoder.weights_hash)}`"),
        ("Embedding", f"{encoder.dim} numbers; {escaped(encoder.embedding_definition or 'as the encoder gives it')}"),
        ("Input", f"{encoder.size} x {encoder.size} pixels, {escaped(encoder.precision)}"),
        ("Images", f"{info.counts.measured:,} measured of {info.counts.images:,} listed; seed {info.seed}"),
        ("Augmentations", f"{len(info.augmentations):,}{draws}"),
        ("Measured with", f"embedshift {escaped(info.embedshift)}, {day.isoformat()}"),
    ]
    return "\n".join(f"- **{name}:** {value}" for name, value in facts)


def _relative_shifts(reader: Reader, rows: Sequence[Json]) -> str:
    """The table of relative shifts, the largest first, and of recall if the study has a search."""
    recall = _recall(reader)
    headings = ["augmentation", "relative shift", "95 % interval"]
    headings += [*(["found first by a search", "95 % interval"] if recall else []), "what it is"]
    lines = []
    for row in rows:
        value, ends = with_interval(row["relative_shift"], row["relative_shift_low"], row["relative_shift_high"])
        recall_row = recall.get(row["augmentation"], {})
        recall_numbers = [recall_row.get(name) for name in ("value", "ci_low", "ci_high")]
        recall_cells = in_percent(*recall_numbers) if recall else ()
        words = escaped(reader.info.descriptions.get(row["augmentation"], ""))
        lines.append([escaped(row["augmentation"]), value, ends, *recall_cells, words])
    return table(headings, lines)


def _recall(reader: Reader) -> dict[str, Json]:
    """Augmentation → its row of recall@1; empty if the study has no search."""
    search = reader.table("search") if "search" in reader.table_names else None
    if search is None:
        return {}
    rows = search.filter(metric=RECALL).drop_nulls("value")
    return {row["augmentation"]: row for row in rows.iter_rows(named=True)}


def _how_to_read(reader: Reader, rows: Sequence[Json]) -> str:
    baseline = next((row["baseline"] for row in rows if row["baseline"] is not None), None)
    mean = "" if baseline is None else f" (mean cosine {baseline:.3f})"
    text = (
        "**Relative shift:** the mean shift of the embedding (1 − cosine) as a fraction of that between two different "
        f"images of this set{mean}: 0 = unchanged, 1 = as far as another image."
    )
    if any(row["relative_shift"] is None for row in rows):
        text += f" {MISSING}: different images do not lie far enough apart for a relative shift."
    if recall := _recall(reader):
        queries = max(row["n"] for row in recall.values())
        text += (
            f" **Found first by a search:** how often the nearest original of a view is its own, for {queries:,} views "
            "of each augmentation."
        )
    return text


def _limits(reader: Reader) -> str:
    info = reader.info
    limits = [
        f"The numbers hold for {count(info.counts.measured, 'image')} and images like them, at the strengths of these "
        "augmentations. Other images can give other numbers.",
        f"Intervals are over {'groups of ' if info.groups else ''}images. They are not corrected for the number of "
        "augmentations.",
        "A small relative shift does not say that the embedding is good, and a large one not that it is bad: a change "
        "that matters to a task should move it.",
    ]
    if info.units < LEAST_IMAGES:
        limits.append(f"Fewer than {LEAST_IMAGES} {'groups of ' if info.groups else ''}images give no interval.")
    if info.counts.failed:
        limits.append(f"{count(info.counts.failed, 'image')} could not be measured.")
    if _recall(reader):
        limits.append("A search among more images finds fewer first.")
    return "\n".join(f"- {limit}" for limit in limits)


def _command(reader: Reader) -> str:
    """The command of the run, without the folders of paths, and what it leaves out."""
    info, naming = reader.info, reader.naming
    words = ["embedshift", "run"]
    pairs = [_pair(str(pair), naming) for pair in info.config.get("pairs") or ()]
    words += ["--pairs", "ORIGINALS", *pairs] if pairs else ["IMAGES"]
    words += ["--model", naming.setting(str(info.config["model"])), *_flags(naming.settings(info.config))]
    text = " ".join(printable(shlex.quote(word)) for word in [*words, "--out", "study"])
    not_shown = len(info.augmentations) - 5
    notes = ["`IMAGES` stands for the images. The same weights have the same hash in `study.json`."]
    if info.config["augmentations"] == IN_PYTHON:
        shown = listed([*map(escaped, info.augmentations[:5]), *([f"{not_shown:,} more"] if not_shown > 0 else [])])
        notes.append(f"The augmentations were given in Python, and the command does not have them: {shown}.")
    return f"{fenced(text, 'sh')}\n\n{' '.join(notes)}"


def _pair(text: str, naming: ImageNaming) -> str:
    """Returns a setting NAME=PATH or PATH without the folders of the path."""
    name, path = re.fullmatch(r"([^/=]+=)?(.*)", text, re.DOTALL).groups("")  # type: ignore[union-attr]
    return f"{name}{naming.setting(path)}"


def _flags(config: Mapping[str, Any]) -> list[str]:
    """The settings that are not the defaults, as options of the command line."""
    flags: list[str] = []
    for name, default in StudyConfig().to_dict().items():
        value, default = (
            list(given) if isinstance(given, tuple) else given for given in (config.get(name, default), default)
        )
        if name in _LEFT_OUT or value in (default, None) or (name == "augmentations" and value in (IN_PYTHON, PAIRS)):
            continue
        flag = f"--{name.replace('_', '-')}"
        words = map(str, value if isinstance(value, list) else [value])
        flags += [flag] if value is True else [flag, ",".join(words)]
    return flags


def _citation(reader: Reader) -> str:
    version = printable(reader.info.embedshift)
    software = (
        "@software{embedshift,\n  title   = {embedshift},\n  author  = {{The embedshift contributors}},\n"
        f"  version = {{{version}}}\n}}"
    )
    return fenced(f"{software}\n\n{_PAPER}", "bibtex")


def fenced(text: str, language: str) -> str:
    """Returns a block of code whose fence is longer than any run of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _hex(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum())[:64]
