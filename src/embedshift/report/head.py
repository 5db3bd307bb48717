"""The first screen of the page: the finding, a row a change, misses beside them, and what to do now."""

import datetime
import shlex
from collections.abc import Iterable, Sequence

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.report.changes import ChangeRow, changes_of, finding
from embedshift.report.next_steps import NOTHING, next_steps, shown_command
from embedshift.report.numbers import count, fixed, in_column, in_percent, listed, shorten
from embedshift.report.page import fill
from embedshift.report.section import PageInput, address, parts_of_page, shrink, webp
from embedshift.statistics.strengths import outward
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.redraw import iter_redrawn

# Rows beside the misses; the others are folded, and so many of them named, in so many characters.
ROWS, NAMES, NAMED = 8, 12, 40
# Words of the command that are shown.
SHOWN_WORDS = 3
# Longest side in pixels and WebP quality of the thumbnails: 40 of noise take 100 kB.
SIDE, QUALITY = 128, 60
# The measured property by which the image shown is chosen among typical ones.
COLOUR = "saturation"


def head(page: PageInput) -> Json:
    """Returns the content of the first screen."""
    reader, changes = page.reader, changes_of(page.reader)
    shown = changes[:ROWS]
    thumbnails = _thumbnails(reader, [view for change in shown for view in change.views])
    has_search = any(change.n for change in changes)
    scale = _scale(changes, has_search)
    study = reader.folder.resolve().name
    command = shown_command(reader, study)
    return {
        "finding": finding(reader, changes),
        "subtitle": _subtitle(page),
        "command": shlex.join(command),
        "short": " ".join(command[:SHOWN_WORDS]),
        "rules": page.info.checked,
        "has_search": has_search,
        "has_shift": any(change.shift is not None for change in changes),
        "largest": f"{outward(0.0, 100 * scale, 1)[1]:g} %" if has_search else fixed(outward(0.0, scale, 2)[1], 2),
        "original": thumbnails.get(ORIGINAL, ""),
        "rows": [_row(change, thumbnails, scale, has_search) for change in shown],
        "folded": _folded(changes[ROWS:]),
        "changes": [_with_intervals(change, page) for change in changes],
        "misses": _misses(page),
        "steps": [(step.why, step.command(study)) for step in next_steps(reader)],
        "study": study,
        "nothing": NOTHING,
    }


def _scale(changes: Sequence[ChangeRow], has_search: bool) -> float:
    """Returns the right end of the ruler: the largest upper bound on the page."""
    numbers = [_on_ruler(change, has_search) for change in changes]
    return max((value or 0.0 if high is None else high for value, _, high in numbers), default=1.0)


def _on_ruler(change: ChangeRow, has_search: bool) -> tuple[float | None, float | None, float | None]:
    """Returns the value on the ruler with its interval: the fraction missed, or without a search the relative shift."""
    if has_search:
        return (change.fraction if change.n else None), *change.missed_ends
    return change.shift, *change.shift_ends


def _row(change: ChangeRow, thumbnails: dict[str, str], scale: float, has_search: bool) -> Json:
    numbers = _on_ruler(change, has_search)
    places = [None if end is None or scale <= 0 else 100 * min(1.0, max(0.0, end / scale)) for end in numbers]
    percent, interval = in_percent(change.fraction, *change.missed_ends)
    level = change.tolerance[1] if change.tolerance else None
    return {
        "name": shorten(change.name, NAMED),
        "words": change.words,
        "strength": change.strength,
        "missed": change.counted,
        "percent": percent,
        "interval": "" if change.missed_ends[0] is None else interval,
        "shift": in_column(change.shift, *change.shift_ends)[0],
        "places": places,
        "thumbnails": [(view, thumbnails[view]) for view in change.views if view in thumbnails],
        "tolerance": change.tolerance and change.tolerance[0],
        # Between the levels of the strip, the original before the first.
        "mark": None
        if level is None or not {*change.views} <= thumbnails.keys()
        else 100 * (level - 0.5) / len(change.views),
    }


def _with_intervals(change: ChangeRow, page: PageInput) -> Json:
    missed = in_percent(change.fraction, *change.missed_ends) if change.n else ("", "")
    words = page.info.descriptions.get(change.view, "")
    return {
        "name": change.in_words,
        "words": words if words and len(change.views) == 1 else change.words,
        "missed": missed,
        "shift": in_column(change.shift, *change.shift_ends),
    }


def _folded(changes: Sequence[ChangeRow]) -> tuple[str, str]:
    """Returns what is said of the changes that are folded, and their names."""
    if not changes:
        return "All intervals", ""
    most = max(changes, key=lambda change: change.order)
    said = f"at most {in_column(most.shift)[0]}"
    if most.n:
        said = f"at most {most.counted} missed" if most.missed else "none missed"
    return f"{len(changes)} more: {said}", listed([shorten(change.in_words, NAMED) for change in changes], NAMES)


def _misses(page: PageInput) -> list[str]:
    parts = [(question, part.misses) for question, part in parts_of_page(page.reader.questions) if part.misses]
    contents = [(question, misses(page)) for question, misses in parts]
    return [fill(f"{question.name}/misses.html.j2", content) for question, content in contents if content]


def _thumbnails(reader: Reader, views: Sequence[str]) -> dict[str, str]:
    """Returns an image and its views as `data:` addresses; none of them if the image cannot be read."""
    image_id = typical_image(reader, views) if views and reader.shows_images else None
    if image_id is None:
        return {}
    [(_, image)] = iter_redrawn(reader, [image_id], {image_id: [*views]})
    if isinstance(image, str) or {*image.views} <= {ORIGINAL}:
        return {}
    return {view: address(webp(shrink(pixels, SIDE), QUALITY), "image/webp") for view, pixels in image.views.items()}


def typical_image(reader: Reader, views: Iterable[str]) -> str | None:
    """Returns the most colourful image of the middle half by mean shift over some views, of those with all these views.

    Without measured colours it is the median.
    """
    rows, cosine = reader.rows(), pl.col(COSINE).fill_nan(None)
    colour = pl.col(COLOUR).max() if COLOUR in reader.image_rows.columns else pl.lit(None, pl.Float64)
    colours = rows.group_by("image_id").agg(colour.fill_null(0.0).alias("colour"))
    shown = rows.filter(pl.col("view").is_in(list(views)), pl.col("draw") == 0)
    means = shown.group_by("image_id").agg(cosine.mean().alias("mean"), cosine.count().alias("views"))
    found = means.join(colours, on="image_id").collect()
    complete = found.filter(pl.col("views") == pl.col("views").max()).drop_nulls("mean").sort("mean", "image_id")
    middle = (len(complete) - 1) // 2
    half = complete.with_columns(far=(pl.int_range(pl.len()) - middle).abs()).filter(pl.col("far") <= len(complete) / 4)
    return None if half.is_empty() else str(half.sort("colour", -pl.col("far"), maintain_order=True)["image_id"][-1])


def _subtitle(page: PageInput) -> list[str]:
    info, places = page.info, [place for place in page.reader.naming.places(page.info.config["images"]) if place]
    place = f"{places[0]}{f' and {len(places) - 1} more' if len(places) > 1 else ''} in " if places else ""
    written = [record.written for record in page.records if record.written]
    groups = f"{info.groups.count:,} groups ({info.groups.chosen})" if info.groups else ""
    failed = f"{count(info.counts.failed, 'image')} failed" if info.counts.failed else ""
    days = between(min(written), max(written)) if written else ""
    return [part for part in (f"{place}{page.encoder}", days, groups, failed) if part]


def between(first: float, last: float) -> str:
    """Returns the days of two moments, in seconds since 1970, in UTC.

    Example:
        >>> between(1_777_800_000, 1_777_900_000)
        '3 to 4 May 2026'
    """
    one, other = (datetime.datetime.fromtimestamp(moment, datetime.UTC).date() for moment in (first, last))
    day, month = str(one.day), f"{one.day} {one:%B}"
    if one == other:
        return f"{month} {one.year}"
    if one.year != other.year:
        return f"{month} {one.year} to {other.day} {other:%B %Y}"
    return f"{day if one.month == other.month else month} to {other.day} {other:%B %Y}"
