"""The report's gallery: for each augmentation the images that moved most, typically and least."""

from collections.abc import Mapping, Sequence

from embedshift.config import Json
from embedshift.questions.examples.answer import answer
from embedshift.questions.examples.gallery import KINDS, Card, Gallery, build_gallery
from embedshift.registry import METRICS
from embedshift.report.numbers import count, fixed, metric_decimals, shorten
from embedshift.report.section import PageInput, Part, Section
from embedshift.store.naming import ImageNaming

Row = Json

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
    content = {
        "order": order,
        "groups": gallery_groups(gallery, order, page.data.colours, page.reader.naming),
        "gallery_notes": gallery_notes(gallery, page.info.has_vectors, page.reader.naming),
    }
    return Section("gallery", "Gallery", content, gallery.pictures)


def gallery_groups(
    gallery: Gallery, order: Sequence[str], colours: Mapping[str, str], naming: ImageNaming
) -> list[Row]:
    """Returns the gallery's cards by augmentation and kind, for the template."""
    groups: list[Row] = []
    for index, name in enumerate(order):
        cards = [card for card in gallery.cards if card.augmentation == name]
        kinds = [
            {"title": title, "cards": [_card(card, gallery, naming) for card in cards if card.kind == kind]}
            for kind, title in KINDS.items()
        ]
        kinds = [kind for kind in kinds if kind["cards"]]
        groups.append({"index": index, "augmentation": name, "colour": colours[name], "kinds": kinds})
    return groups


def _card(card: Card, gallery: Gallery, naming: ImageNaming) -> Row:
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


def gallery_notes(gallery: Gallery, has_vectors: bool, naming: ImageNaming) -> list[str]:
    notes: list[str] = []
    if naming.pictures and not has_vectors:
        notes.append("This study stored no embeddings, and attention maps of only one image per shard.")
    if not naming.pictures:
        notes.append(
            "This report was made without images: each name is replaced by a hash, and no figure shows an image."
        )
    if gallery.missing:
        shown = len({card.image_id for card in gallery.cards})
        image, why = next(iter(gallery.missing.items()))
        notes.append(
            f"{len(gallery.missing)} of the {shown} images below cannot be shown, because their files could not be "
            f"read again (first: {naming.image(image)}: {shorten(naming.text(why, image))}). Their numbers are valid."
        )
    if gallery.unread:
        (image, name), why = next(iter(gallery.unread.items()))
        notes.append(
            f"{count(len(gallery.unread), 'variant')} below cannot be shown, because the files could not be read again "
            f"(first: {name} of {naming.image(image)}: {shorten(naming.text(why, image))}). Their numbers are valid."
        )
    if gallery.undrawable:
        notes.append(
            f"Views of {', '.join(gallery.undrawable)} are not shown: these are user functions, which a report cannot "
            "call again."
        )
    if gallery.left_out:
        notes.append(f"{gallery.left_out} images are left out to keep this file below 4 MB.")
    return notes


PART = Part(section, answer=answer)
