"""The sentences of the page as HTML; names and reasons are escaped."""

import math

from markupsafe import Markup

from embedshift.app.measured import MeasuredView, Scale
from embedshift.app.originals import SearchResult
from embedshift.report.numbers import fixed, in_percent, shorten


def message(text: str, *, is_error: bool = False) -> Markup:
    """One line; a screen reader says an error at once."""
    kind, role = ("error", "alert") if is_error else ("note", "status")
    return Markup('<p class="{}" role="{}">{}</p>').format(kind, role, shorten(text, 600))


def answer(view: MeasuredView, what: str, not_searched: str, has_attention: bool) -> Markup:
    lines = [
        Markup("{}").format(what),
        Markup("{}").format(shift_in_words(view.relative_shift)),
        Markup("Cosine of the two embeddings: <b>{}</b> (1 = unchanged).").format(fixed(view.cosine, 4)),
    ]
    if view.search is not None:
        lines.append(search_in_words(view.search))
    elif not_searched:
        lines.append(Markup("No search: {}.").format(not_searched))
    if not has_attention:
        lines.append(Markup("No attention: this encoder gives no attention map."))
    return Markup('<div role="status">{}</div>').format(
        Markup("").join(Markup("<p>{}</p>").format(line) for line in lines)
    )


def shift_in_words(relative_shift: float) -> str:
    if math.isnan(relative_shift):
        return "Other images give no scale."
    if abs(relative_shift) < 1e-6:
        return "The embedding did not move."
    if relative_shift > 1:
        return "The embedding moved further than another image lies."
    return f"The embedding moved {in_percent(relative_shift)[0]} of the distance to another image."


def search_in_words(result: SearchResult) -> Markup:
    if not result.rank:
        return Markup("A search cannot find an embedding of length 0.")
    images = f"the study's originals and this image ({result.images:,} images)"
    if result.same_image:
        images = f"the study's originals ({result.images:,} images, this one among them as “{result.same_image}”)"
    rank = "still finds it first" if result.rank == 1 else f"finds it at place {result.rank:,}"
    sentence = Markup("A search among {} <b>{}</b>.").format(images, rank)
    if not result.nearest:
        return sentence
    nearest = " The nearest other image is “{}”, cosine {}."
    return sentence + nearest.format(shorten(result.nearest, 80), fixed(result.cosine, 3))


def scale_bars(relative_shift: float, scale: Scale) -> dict[str, float]:
    """The relative shift beside those of other images, for bars; {} without a scale."""
    if math.isnan(relative_shift):
        return {}
    bars = {"another image": 1.0, "this view": relative_shift}
    return bars if scale.nearest is None else {**bars, f"nearest {scale.nearest_of}": scale.nearest}
