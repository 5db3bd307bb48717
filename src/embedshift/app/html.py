"""What the page shows, as HTML: every name and every word of an error is escaped."""

import math
from collections.abc import Iterable

from markupsafe import Markup

from embedshift.app.among import Place
from embedshift.app.look import Look, Original, Scale
from embedshift.arrays import Floats, Pixels
from embedshift.figures import scale as ruler_of
from embedshift.figures.images import overlay
from embedshift.figures.render import address
from embedshift.report.images import webp
from embedshift.report.numbers import fixed, in_percent, shorten, with_interval

QUALITY = 88
NO_MAP = "this encoder gives no attention map"


def note(words: str, kind: str = "note") -> Markup:
    """One line: of kind "note", or "error", which a screen reader says at once."""
    role = "alert" if kind == "error" else "status"
    return Markup('<p class="line {}" role="{}">{}</p>').format(kind, role, shorten(words, 600))


def picture(image: Pixels, title: str, more: str = "") -> Markup:
    """An image with its title and a line below it."""
    source = address(webp(image, QUALITY), "image/webp")
    return Markup('<figure><img src="{}" alt="{}"><figcaption><b>{}</b> {}</figcaption></figure>').format(
        source, title, title, more
    )


def pictures(view: Pixels, attention: Floats | None, title: str, more: str) -> Markup:
    """An image, and its attention map laid over it, where there is one."""
    shown = [picture(view, title, more)]
    if attention is not None:
        shown.append(picture(overlay(view, attention), f"attention, {title}"))
    return grid(shown)


def grid(parts: Iterable[Markup]) -> Markup:
    """Parts beside each other, as many as fit."""
    return Markup('<div class="grid">{}</div>').format(Markup("").join(parts))


def of_original(original: Original) -> Markup:
    """The original and its attention."""
    width, height = original.size
    return pictures(original.view, original.attention, "original", f"{shorten(original.name, 80)}, {width} x {height}")


def of_look(shown: Look) -> Markup:
    """The view and its attention."""
    name = shown.change.partition(": ")[2]
    return pictures(shown.view, shown.attention, "view", f"{name} {shown.strength}".strip())


def answer(shown: Look, scale: Scale, unsearched: str, has_map: bool) -> Markup:
    """How far the embedding has moved: the ruler, the numbers, and what a search finds."""
    value = with_interval(_number(shown.relative_shift), None, None)[0]
    lines = [
        Markup("<p class='lead'>Relative shift <b>{}</b>: {}</p>").format(value, in_words(shown.relative_shift)),
        ruler(shown.relative_shift, scale),
        Markup("<p>Cosine of the two embeddings: <b>{}</b> (1 = unchanged).</p>").format(fixed(shown.cosine, 4)),
    ]
    if shown.place is not None:
        lines.append(Markup("<p>{}</p>").format(found(shown.place)))
    elif unsearched:
        lines.append(Markup("<p>No search: {}.</p>").format(unsearched))
    if not has_map:
        lines.append(Markup("<p>No attention: {}.</p>").format(NO_MAP))
    return Markup("").join(lines)


def in_words(value: float) -> str:
    """A relative shift as a sentence."""
    if math.isnan(value):
        return "other images give no scale."
    if abs(value) < 1e-6:
        return "the embedding did not move."
    if value > 1:
        return "the embedding moved further than another image lies."
    return f"the embedding moved {in_percent(value)[0]} of the distance to another image."


def found(place: Place) -> Markup:
    """What a search for the view finds."""
    among = Markup("the study's originals and this image ({:,} images)").format(place.of)
    if place.known:
        words = Markup("the study's originals ({:,} images, this one among them as <q>{}</q>)")
        among = words.format(place.of, shorten(place.known, 80))
    if not place.rank:
        return Markup("A search cannot find an embedding of length 0.")
    where = "still finds it first" if place.rank == 1 else f"finds it at place {place.rank:,}"
    words = Markup("A search among {} <b>{}</b>.").format(among, where)
    if not place.nearest:
        return words
    other = Markup(" The nearest other image is <q>{}</q>, cosine {}.")
    return words + other.format(shorten(place.nearest, 80), fixed(place.cosine, 3))


def ruler(value: float, scale: Scale) -> Markup:
    """The ruler of the report, with one dot; nothing without a scale."""
    if math.isnan(value):
        return Markup("")
    ends = ruler_of.ends(value, value)
    ticks = [
        Markup('<span class="mark" style="left:{}"><i></i>{}<br>{}</span>').format(percent(place, *ends), *words)
        for place, words in ruler_of.marks(scale.near, scale.near_of).items()
    ]
    label = f"ruler: 0 is the same image, 1 another image; the view is at {with_interval(value, None, None)[0]}"
    return Markup(
        '<div class="ruler" role="img" aria-label="{}">{}<span class="dot" style="left:{}"></span></div>'
    ).format(label, Markup("").join(ticks), percent(value, *ends))


def percent(value: float, low: float, high: float) -> str:
    """Where a value lies between two ends, for a style sheet."""
    return f"{100 * (value - low) / (high - low):.2f}%"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
