"""The command `embedshift upgrade`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import ColumnNames, GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions, ColumnNames):
    """Options of `upgrade`."""

    old: Path = argument("A finished study of the old encoder, or a Parquet file.", "OLD")
    new: Path = argument("The same of the new one: the same images and changes.", "NEW")
    out: Path | None = setting(None, "File for the map: MAP.npz.", output=True)
    gallery: str = setting("", "More vectors of the old index: a study of the old encoder, Parquet or npy.")
    onnx: Path | None = setting(None, "Write the map as an ONNX graph, too.")
    page: Path | None = setting(None, "Folder for the page, tables and the learning curve.", output=True)
    threshold: float | None = setting(None, "The cosine from which on the old index matches.")
    false_match_rate: float | None = setting(
        None, "Or the part of pairs of other images that may match. Default: 0.001."
    )
    recall_margin: float | None = setting(None, "How much of recall@1 may be lost under any change. Default: 0.01.")


def command(options: Options) -> "Output":
    """Judges queries of the new encoder in the old index."""
    from embedshift.questions.upgrade.result import upgrade
    from embedshift.study.result import Output

    names = ("out", "onnx", "threshold", "false_match_rate", "recall_margin", "groups", "columns", "gallery")
    found = upgrade(options.old, options.new, **{name: getattr(options, name) for name in names})
    pages = [] if options.page is None else found.save(options.page)[-1:]
    answer = found.answer([*pages, *filter(None, (options.out, options.onnx))])
    return Output(answer.content, [*answer.parts, "Every row: `--json`. What to do then: `embedshift docs upgrade`."])
