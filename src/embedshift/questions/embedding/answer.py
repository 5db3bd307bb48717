"""The report's answers to three questions, from the tables alone: how far, is it significant, and which images."""

from collections.abc import Mapping, Sequence

import polars as pl
from markupsafe import Markup

from embedshift.config import Json
from embedshift.report.numbers import MISSING, count, fixed, listed, with_interval
from embedshift.statistics.differences import significant_pairs
from embedshift.statistics.intervals import APPROXIMATE_BELOW, LEAST_IMAGES
from embedshift.statistics.summary import COSINE, FAR

Row = Json

# Means that differ by less are equal but for rounding.
ROUNDING = 1e-12
# From this distance relative to others on, a view is no nearer to its own original than to others.
_NO_NEARER = 0.95
# Number of pairs that are named one by one.
NAMED = 3


def how_far(summary: pl.DataFrame, encoder: str, images: int, cross: Mapping[str, float]) -> list[Markup]:
    """Describes which augmentations move the embedding most and least, as relative shifts."""
    rows = sorted(
        summary.filter((pl.col("metric") == COSINE) & pl.col("mean").is_not_null()).iter_rows(named=True),
        key=lambda row: float(row["mean"]),
    )
    if not rows:
        return [
            Markup("No cosine similarity can be computed: all embeddings of {} are zero or not finite.").format(encoder)
        ]
    if rows[0]["relative_shift"] is None or rows[0]["mean"] > 1.0 - ROUNDING:
        return _without_scale(rows, encoder)
    most, least = rows[0], rows[-1]
    scale = scale_of(most["baseline"], images)
    name, far = most["augmentation"], Markup("<b>{}</b> of the distance to another image").format(_relative_shift(most))
    crossed = [_crossed(row, cross) for row in rows if row["relative_shift"] > FAR and row["augmentation"] in cross][
        :NAMED
    ]
    if len(rows) == 1:
        words = "<b>{}</b>, the only augmentation, moves the embedding of {}: {}."
        return [Markup(words).format(name, encoder, far), *crossed, scale]
    if least["mean"] - most["mean"] < ROUNDING:
        words = "All augmentations move the embedding of {} equally far: {}."
        return [Markup(words).format(encoder, far), *crossed, scale]
    near = Markup("<b>{}</b>").format(_relative_shift(least))
    if images < LEAST_IMAGES:
        words = "The embedding of {} moves between {} under <b>{}</b> and {} under <b>{}</b>."
        return [Markup(words).format(encoder, near, least["augmentation"], far, name), *crossed, scale]
    first = Markup("<b>{}</b> moves the embedding of {} furthest: {}.").format(name, encoder, far)
    second = Markup("<b>{}</b> moves it least: {}.").format(least["augmentation"], near)
    return [first, *crossed, second, scale]


def scale_of(baseline: float, images: int) -> Markup:
    """Explains a relative shift: the baseline, and the meaning of the brackets."""
    words = (
        "This fraction is the <b>relative shift</b>: the mean cosine distance (1 − cosine similarity) between view and "
    )
    words += "original, divided by that between other images of this set (1 − {}). 0 = unchanged, 1 = as far as "
    words += "another image.{}"
    return Markup(words).format(
        fixed(baseline, 3), "" if images < LEAST_IMAGES else " Brackets contain 95 % intervals."
    )


def _without_scale(rows: Sequence[Row], encoder: str) -> list[Markup]:
    """Describes the case in which other images give no scale."""
    most, least, baseline = rows[0], rows[-1], rows[0]["baseline"]
    if most["mean"] > 1.0 - ROUNDING:
        first = Markup("No augmentation moves the embedding of {}: every mean cosine similarity is 1.").format(encoder)
        if baseline is not None and most["relative_shift"] is not None:
            return [first]
    elif len(rows) == 1:
        first = Markup(
            "<b>{}</b>, the only augmentation, moves the embedding of {} to a mean cosine similarity of {}."
        ).format(most["augmentation"], encoder, fixed(most["mean"], 3))
    else:
        first = Markup(
            "Mean cosine similarity with the original: from {} under <b>{}</b> to {} under <b>{}</b>."
        ).format(fixed(most["mean"], 3), most["augmentation"], fixed(least["mean"], 3), least["augmentation"])
    if baseline is None:
        return [first, Markup("There is no relative shift, because it needs at least two images.")]
    why = "There is no relative shift: the mean cosine similarity of other images, {}, cannot be distinguished from 1."
    return [first, Markup(why).format(fixed(baseline, 3))]


def _relative_shift(row: Row) -> str:
    value, interval = with_interval(row["relative_shift"], row["relative_shift_low"], row["relative_shift_high"])
    return value if interval == MISSING else f"{value} [{interval}]"


def _crossed(row: Row, cross: Mapping[str, float]) -> Markup:
    """Describes the cross baseline."""
    value = cross[row["augmentation"]]
    meaning = ": its embedding no longer identifies the image" if value >= _NO_NEARER else ""
    words = (
        "A view under {} is on average {} times as far from its own original as from the originals of other images{}."
    )
    return Markup(words).format(row["augmentation"], fixed(value, 2), meaning)


def is_significant(differences: pl.DataFrame | None, order: Sequence[str], images: int) -> list[Markup]:
    """Describes whether these images decide which augmentation moves the embedding more, pair by pair."""
    if len(order) < 2:
        return []
    if images < LEAST_IMAGES:
        words = "None: {} cannot be tested. Tests and intervals need at least {} images."
        return [Markup(words).format(count(images, "image"), LEAST_IMAGES)]
    if differences is None:
        return [Markup("Not tested: {} augmentations are too many to compare all pairs.").format(len(order))]
    cosine = differences.filter(pl.col("metric") == COSINE)
    if (cosine["difference"].fill_null(0.0).abs() < ROUNDING).all():
        return [Markup("None: no augmentation moves the embedding more than another.")]
    significant = {*significant_pairs(differences, COSINE)}
    open_pairs = [
        (one, other)
        for place, one in enumerate(order)
        for other in order[place + 1 :]
        if (one, other) not in significant
    ]
    method = "The order depends on the strengths of the augmentations. Pairs are compared image by image, with 95 % "
    method += "intervals corrected for all pairs."
    if images < APPROXIMATE_BELOW:
        method += f" With fewer than {APPROXIMATE_BELOW} images the intervals are approximate."
    total = len(order) * (len(order) - 1) // 2
    if not open_pairs:
        words = "All: with {}, every pair of augmentations differs significantly in cosine similarity."
        return [Markup(words).format(count(images, "image")), Markup(method)]
    if len(open_pairs) == total:
        words = "None: with {}, no pair of augmentations differs significantly in cosine similarity."
        return [Markup(words).format(count(images, "image")), Markup(method)]
    words = "{} of {} pairs of augmentations differ significantly in cosine similarity."
    first = Markup(words).format(total - len(open_pairs), total)
    return [first, _ends(order, significant), _not_significant(open_pairs), Markup(method)]


def _ends(order: Sequence[str], significant: set[tuple[str, str]]) -> Markup:
    """Describes whether the first and the last of the order differ from all others."""
    parts: list[Markup] = []
    for name, ends in ((order[0], ("largest", "larger")), (order[-1], ("smallest", "smaller"))):
        apart = all((name, other) in significant for other in order if other != name)
        but = "" if apart else "but not "
        words = "<b>{}</b> has the {} shift, {}significantly {} than all others."
        parts.append(Markup(words).format(name, ends[0], but, ends[1]))
    return Markup(" ").join(parts)


def _not_significant(pairs: Sequence[tuple[str, str]]) -> Markup:
    named = [Markup("{} and {}").format(one, other) for one, other in pairs[:NAMED]]
    more = len(pairs) - len(named)
    rest = f"; and {more} more pairs in file tables/differences.csv" if more else ""
    return Markup("No significant difference between {}{}.").format(Markup("; ").join(named), rest)


def which_images(moved: pl.DataFrame, link: str = "") -> list[Markup]:
    """Describes which images an augmentation moves far."""
    if moved.is_empty():
        return []
    far = moved.filter(pl.col("far") > 0).sort("far", descending=True, maintain_order=True)
    parts = [
        Markup("{} under <b>{}</b>").format(_of(row["far"], row["images"]), row["augmentation"])
        for row in far.head(NAMED).iter_rows(named=True)
    ]
    if parts:
        least = far["far"][NAMED - 1] if far.height > NAMED else 0
        others = f"; {least} or fewer under {count(far.height - NAMED, 'other')}" if least else ""
        words = "Images with a relative shift above 0.5: {}{}."
        first = Markup(words).format(Markup(listed(parts)), others)
    else:
        first = Markup("No image has a relative shift above 0.5.")
    top = [
        Markup("<bdi>{}</bdi> under {} ({})").format(
            row["image_id"], row["augmentation"], with_interval(row["relative_shift"], None, None)[0]
        )
        for row in moved.head(NAMED).iter_rows(named=True)
    ]
    see = Markup(" <a href='{}'>Show them.</a>").format(link) if link else ""
    return [first, Markup("Largest relative shifts: {}.{}").format(Markup(listed(top)), see)]


def _of(number: int, images: int) -> str:
    return f"all {images:,}" if number == images else f"{number:,} of {images:,}"
