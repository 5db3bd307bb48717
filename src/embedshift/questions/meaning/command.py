"""The command `embedshift explain`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift.config import GroupedOptions
from embedshift.registry import argument, setting

if TYPE_CHECKING:
    from embedshift.study.result import Output


@dataclass(frozen=True, kw_only=True)
class Options(GroupedOptions):
    """Options of `explain`."""

    study: Path = argument("A finished study.")
    features: str | None = setting(None, "augmentations, groups (of dimensions), or map. Default: augmentations.")
    between: list[str] | None = setting(None, "Also A,B: A − B of two augmentations; repeat it.")
    properties: Path | None = setting(None, "More properties: a CSV or Parquet file with image_id.")
    words: Path | None = setting(None, "Words, one a line, or CSV or Parquet with image_id and word.")
    namer: str | None = setting(None, "Encoder with a text tower that finds the words' images.")


def command(options: Options) -> "Output":
    """Says what directions stand for.

    Without options it repeats the last ones.
    """
    from embedshift.questions.meaning.explained import findings, why_nothing
    from embedshift.questions.meaning.grids import printed
    from embedshift.questions.meaning.namer import name_images
    from embedshift.statistics.meaning import LEAST
    from embedshift.study.result import Output
    from embedshift.study.study import opened

    study = opened(options.study, options.groups, LEAST)
    words: Any = None if options.words is None else str(options.words)
    if options.namer is not None:
        words = name_images(study, options.namer, words)
    properties = None if options.properties is None else str(options.properties)
    given = {"features": options.features, "between": options.between or None}
    table = study.table("meaning", measured=True, properties=properties, words=words, **given)
    record, found = study.reader().info.tables.get("meaning"), findings(table)
    settings = {} if record is None else dict(record.settings)
    why = "" if found else why_nothing(study.reader(), settings.get("features", ""))
    sentences = {each.direction: each.sentence for each in found}
    content = {"study": str(options.study), "meaning": table.to_dicts(), "sentences": sentences, "why": why}
    return Output(content, [why] if why else [*printed(found, settings)])
