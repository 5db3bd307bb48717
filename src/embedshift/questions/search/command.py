"""The command `embedshift search`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.config import GroupedOptions, Json
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output

# The tables that `--json` contains.
GALLERY_COPIES = "gallery_copies"
TABLES = ("search", "thresholds", "matches", "gallery_sizes", "duplicates", GALLERY_COPIES)


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `search`."""

    study: Path = argument("A finished study.")
    gallery: str = setting("", "More images to search: another study, or a Parquet or npy file of embeddings.")
    queries: str = setting("2000", "Number of images whose views are queries, or all.", rare=True)
    false_match_rate: str = setting(
        "",
        "False-match rates of the thresholds, with commas. Default: 0.01,0.001, if there are enough images.",
        rare=True,
    )
    index: Path | None = setting(None, "Map embeddings as this file of `index` does.")
    threshold: float | None = setting(None, "List pairs from this cosine on as likely duplicates.", rare=True)
    expected_false: float | None = setting(
        None, "List likely duplicates until so many of them are expected to be false. Default: 1.", rare=True
    )
    beside: str = setting("", "Compare every augmentation with this one, image by image: how many more are found.")
    between: str = setting("", "List likely copies between two folders or groups: train,test.")
    memory: float | None = setting(None, "Gigabytes for FAISS' index of a large gallery. Default: 4.", rare=True)


def command(options: Options) -> "Output":
    """Tests whether a search finds the original of each view, and lists likely duplicates."""
    from embedshift.questions.search.grids import beside, printed
    from embedshift.questions.search.result import between, printed_between
    from embedshift.statistics.duplicates import EXPECTED_FALSE
    from embedshift.study import load
    from embedshift.study.indexed import IndexedStudy
    from embedshift.study.result import Output

    study = load(options.study) if options.index is None else IndexedStudy(options.study, options.index)
    study.regroup(options.groups)
    threshold, expected = options.threshold, options.expected_false
    study.table(
        "search" if study.augmentations else "duplicates",
        queries=options.queries,
        false_match_rate=options.false_match_rate,
        gallery=options.gallery,
        threshold=threshold,
        expected_false=EXPECTED_FALSE if threshold is None and expected is None else expected,
        memory=options.memory,
    )
    content: Json = {"study": str(options.study)}
    content |= {name: study.table(name).to_dicts() for name in TABLES if name in study.table_names}
    if options.beside:
        content["beside"] = beside(study, options.beside).to_dicts()
    if options.between:
        pairs = between(study, options.between)
        content["between"] = pairs.to_dicts()
        return Output(content, [*printed_between(pairs, *options.between.split(","))])
    lines = [*printed(study, options.beside)]
    if options.gallery:
        lines += printed_between(study.table(GALLERY_COPIES), options.study.name, Path(options.gallery).name)
    return Output(content, lines)
