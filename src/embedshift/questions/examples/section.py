"""The report's gallery: for each augmentation the images that moved most, typically and least."""

from collections.abc import Mapping
from typing import Any

from embedshift.config import Json
from embedshift.questions.examples.answer import answer
from embedshift.questions.examples.gallery import KINDS, Card, Gallery, build_gallery
from embedshift.registry import METRICS
from embedshift.report.numbers import fixed, metric_decimals, shorten
from embedshift.report.section import PageInput, Part, Section
from embedshift.store.naming import ImageNaming

# The page has 4 MB: plotly takes 2, figures 0.8, the gallery the rest except for the text.
GALLERY_BYTES = 800_000
ROLES = {
    "original": "original",
    "view": "view",
    "original_attention": "attention, original",
    "view_attention": "attention, view",
}


def section(page: PageInput) -> Section:
    """Returns the section: the cards, augmentations from most to least changed."""
    order = page.data.by_rank()[::-1]
    gallery = build_gallery(page.reader, order, budget=GALLERY_BYTES)
    cards: dict[tuple[str, str], list[Card]] = {}
    for card in gallery.cards:
        cards.setdefault((card.augmentation, card.kind), []).append(card)
    content = {
        "order": order,
        "colours": page.data.colours,
        "kinds": KINDS,
        "cards": {key: [_card(card, gallery, page.reader.naming) for card in of] for key, of in cards.items()},
        "gallery": gallery,
        "shown": len({card.image_id for card in gallery.cards}),
        "first_missing": _first(gallery.missing, page.reader.naming),
        "first_unread": _first(gallery.unread, page.reader.naming),
        "pictures": page.reader.pictures,
        "has_attention": any(role.endswith("_attention") for card in gallery.cards for role in card.pictures),
        "has_vectors": page.info.has_vectors,
    }
    return Section("gallery", "Gallery", content, gallery.pictures)


def _card(card: Card, gallery: Gallery, naming: ImageNaming) -> Json:
    name = naming.image(card.image_id)
    panels = [
        {
            "title": title,
            "photo": card.pictures[role.removesuffix("_attention")],
            "heat": card.pictures[role] if role.endswith("_attention") else None,
            "alt": f"{title}: {name}" + (f" under {card.augmentation}" if role.startswith("view") else ""),
        }
        for role, title in ROLES.items()
        if role in card.pictures and role.removesuffix("_attention") in card.pictures
    ]
    metrics = [
        (METRICS[name].label, fixed(value, metric_decimals(name, value))) for name, value in card.metrics.items()
    ]
    why = gallery.missing.get(card.image_id) or gallery.unread.get((card.image_id, card.augmentation), "")
    reason = shorten(naming.text(why, card.image_id))
    return {"image_id": name, "places": panels, "metrics": metrics, "reason": reason}


def _first(missing: Mapping[Any, str], naming: ImageNaming) -> list[tuple[str, str, str]]:
    """Returns the first image that could not be read again, the name of its variant, and why; none if there is none."""
    keys = [(key, "", why) if isinstance(key, str) else (*key, why) for key, why in [*missing.items()][:1]]
    return [(naming.image(image), name, shorten(naming.text(why, image))) for image, name, why in keys]


PART = Part(section, answer=answer)
