"""The command `embedshift index`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `index`."""

    study: Path = argument("A finished study.", "STUDY")
    indexes: list[str] | None = argument(
        "Indexes, such as whiten+binary. Default: about ten.", "[INDEX]...", optional=True
    )
    gallery: Path | None = setting(None, "More vectors to search among: a study or a file.")
    recall_margin: float | None = setting(None, "Recommend an index only if it loses less of recall@1. Default: 0.01.")
    false_match_rate: float | None = setting(None, "The part of pairs of other images that may match. Default: 0.001.")
    out: Path | None = setting(None, "Write the index to this file: INDEX.npz.", output=True)
    onnx: Path | None = setting(None, "Write its map and size as an ONNX graph, too.", output=True)


def command(options: Options) -> "Output":
    """Says which index a store may keep."""
    from embedshift.questions.index.result import write_index
    from embedshift.questions.index.tables import LEAST
    from embedshift.questions.index.verdicts import answer_of, grid
    from embedshift.study.result import Output
    from embedshift.study.study import opened

    study = opened(options.study, options.groups, LEAST)
    place = None if options.gallery is None else str(options.gallery)
    given = {"recall_margin": options.recall_margin, "false_match_rate": options.false_match_rate}
    table = study.table("index", measured=True, indexes=options.indexes or None, gallery=place, **given)
    found = answer_of(study.reader(), table)
    best, lines = found.recommended, [*found.sentences()]
    if options.out is not None or options.onnx is not None:
        chosen = None if best is None else best.name
        lines.append(write_index(study, options.indexes or [], chosen, options.out, options.onnx))
    content = {
        "study": str(options.study),
        "recommended": None if best is None else best.name,
        "finds_most": found.finds_most.name if found.verdicts else None,
        "sentences": lines,
        "index": table.to_dicts(),
    }
    return Output(
        content, [grid(found), *lines, "Every row: `--json`. What each number means: `embedshift docs which-index`."]
    )
