"""The command `embedshift compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `compare`."""

    studies: list[Path] = argument("Finished studies; the first is the reference.", "DIR DIR...")
    out: Path | None = setting(None, "Folder for tables and figures. Default: none.", output=True)
    index: Path | None = setting(None, "Map embeddings of the studies after the first as this file of `index` does.")
    shift_margin: float | None = setting(
        None, "Equivalent if views move at most so many times as far or as near, such as 1.05."
    )
    recall_margin: float | None = setting(None, "Equivalent if at most so much of recall@1 is lost, such as 0.01.")


def command(options: Options) -> "Output":
    """Compares studies."""
    from embedshift.questions.compare.result import compare
    from embedshift.study.indexed import indexed
    from embedshift.study.result import Output

    given = options.studies if options.index is None else indexed(options.studies, options.index)
    margins = {"shift_margin": options.shift_margin, "recall_margin": options.recall_margin}
    comparison = compare(given, out=options.out, groups=options.groups, **margins)
    answer = comparison.answer([] if options.out is None else [options.out])
    hint = []
    if options.index is not None:
        hint = ["With and without the map, relative shifts are of two spaces: compare what a search finds."]
    elif comparison.is_upgrade:
        old, new, *_ = options.studies
        hint = [f"May new queries search the old index? embedshift upgrade {old} {new}"]
    return Output(answer.content, [*answer.parts, *hint])
