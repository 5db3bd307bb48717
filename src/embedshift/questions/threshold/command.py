"""The command `embedshift threshold`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import GroupedOptions, Json
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `threshold`."""

    study: Path = argument("A finished study.", "STUDY")
    wrong_queries: float | None = setting(None, "The part of queries without a match that may get one. Default: 0.05.")
    wrong_flags: float | None = setting(None, "The part of flagged queries that may have no match, instead.")
    confidence: float | None = setting(None, "Hold --wrong-queries with this probability, not on average.")
    gallery: Path | None = setting(None, "More images to search among: a study or a file.")
    index: Path | None = setting(None, "Map embeddings as this file of `index` does.")
    out: Path | None = setting(None, "Write the scores and the threshold to this file: THRESHOLD.npz.", output=True)


def command(options: Options) -> "Output":
    """Says from which score on it is the same image."""
    from embedshift.questions.threshold import Choices
    from embedshift.questions.threshold.result import grid, lines_of, sentences, write
    from embedshift.questions.threshold.tables import CURVE
    from embedshift.study import load
    from embedshift.study.indexed import IndexedStudy
    from embedshift.study.result import Output

    study = load(options.study) if options.index is None else IndexedStudy(options.study, options.index)
    study.regroup(options.groups)
    asked = Choices(
        options.wrong_queries,
        options.wrong_flags,
        options.confidence,
        None if options.gallery is None else str(options.gallery),
        measured=True,
    )
    table, curve = study.table("threshold", asked), study.table(CURVE, asked)
    words, parts = [*sentences(table, curve)], list[str]()
    if options.out is not None:
        write(study.reader(asked), table, options.out)
        lines = lines_of(table, str(options.out), "" if options.index is None else str(options.index))
        parts = [f"Written: {options.out}. Apply it to vectors `queries` and `stored`:", "", *lines.splitlines()]
    content: Json = {"study": str(options.study), "sentences": words, "threshold": table.to_dicts()}
    content |= {CURVE: curve.to_dicts(), "apply": "\n".join(parts[2:]) or None}
    return Output(content, [grid(table), *words, *parts])
