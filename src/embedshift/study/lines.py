"""Lines of text that `run` and `search` both print: likely duplicates, what is missed, and what to do now."""

from collections.abc import Iterator

import polars as pl

from embedshift.report.next_steps import DUPLICATES, NOTHING, next_steps
from embedshift.report.numbers import count
from embedshift.statistics.duplicates import images_in, rule_in_words
from embedshift.study.study import Study

# Pairs of likely duplicates that are printed.
PRINTED = 10


def step_lines(study: Study, *, lists_duplicates: bool = False) -> Iterator[str]:
    """Yields what the questions say of misses, and what to do now; not to list duplicates where they are listed."""
    reader = study.reader()
    functions = [line for question in reader.questions for line in getattr(question.part("tables"), "LINES", ())]
    yield from (f"{words}." for function in functions if (words := function(reader)))
    steps = [step for step in next_steps(reader, whole=True) if not lists_duplicates or step.action != DUPLICATES]
    yield "What now:" if steps else f"What now? {NOTHING}"
    for place, step in enumerate(steps, start=1):
        yield f"  {place}. {step.why}: {step.command(str(study.folder))}".removesuffix(": ")


def duplicate_lines(study: Study) -> Iterator[str]:
    reader = study.reader()
    compared = reader.info.counts.measured if reader.groups is None else pl.Series(reader.groups).n_unique()
    pairs, settings = study.table("duplicates"), reader.kept_settings("duplicates")
    rule = rule_in_words(settings, compared)
    if pairs.is_empty():
        yield f"No duplicates found: no two images have {rule}."
        return
    images, groups = images_in(pairs), pairs["group"].n_unique()
    words = f"{count(len(pairs), 'pair')} in {count(groups, 'group')} of {images:,} images"
    yield f"{words}, with {rule}:" if "threshold" in settings else f"Likely duplicates: {words}, with {rule}:"
    for row in pairs.head(PRINTED).iter_rows(named=True):
        whitened = "" if row["whitened"] is None else f"whitened {row['whitened']:.4f}  "
        yield f"  group {row['group']}  {whitened}cosine {row['cosine']:.4f}  {row['image_id']}  {row['other']}"
    if len(pairs) > PRINTED:
        yield f"  and {len(pairs) - PRINTED:,} more in {study.folder / 'tables' / 'duplicates.csv'}"
