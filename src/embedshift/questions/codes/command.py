"""The command `embedshift codes`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift.config import GroupedOptions
from embedshift.config.safe_files import write_file
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `codes`."""

    study: Path = argument("A finished study.")
    codes: str | None = setting(None, "Codes with commas between them. Default: those without FAISS.")
    gallery: Path | None = setting(None, "More vectors to search among: a study or a file.")
    recall_margin: float | None = setting(None, "Recommend a code only if it loses less of recall@1. Default: 0.01.")
    out: Path | None = setting(None, "Write ranges and mean, which a store needs, to this JSON file.", output=True)


def command(options: Options) -> "Output":
    """Says what a store may keep of the vectors."""
    from embedshift.questions.codes.coded import HEADINGS, cells, margin_of, recommended, summary, verdicts
    from embedshift.statistics.coded_search import LEAST
    from embedshift.statistics.codes import ranges_to_json
    from embedshift.statistics.vectors import normalised_float32
    from embedshift.store.gallery import originals
    from embedshift.study.result import Grid, Output
    from embedshift.study.study import opened

    study = opened(options.study, options.groups, LEAST)
    place = None if options.gallery is None else str(options.gallery)
    margin = options.recall_margin
    table = study.table("codes", measured=True, codes=options.codes, gallery=place, recall_margin=margin)
    reader, found = study.reader(), verdicts(table)
    best, lines = recommended(found), [*summary(found, reader, margin or margin_of(reader.kept_settings("codes")))]
    name = None if best is None else best.code
    if options.out is not None:
        vectors = normalised_float32(originals(reader).gallery.vectors)
        write_file(options.out, json.dumps(ranges_to_json(vectors, name or "float32")).encode())
    content = {"study": str(options.study), "recommended": name, "sentences": lines, "codes": table.to_dicts()}
    title = f"recall@1 among {found[0].gallery:,} over all changes; points lost (in brackets: at worst, 95 %)"
    kinds: Any = ("name", "number", "number", "number", "number", "name", "number")
    grid = Grid(HEADINGS, kinds, [cells(each) for each in found], title)
    return Output(content, [grid, *lines, "Every row: `--json`. What each number means: `embedshift docs codes`."])
