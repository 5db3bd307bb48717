"""What the table `meaning` says of each direction, as the command line, the figure and the report have it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from embedshift.report.numbers import MISSING, count, fixed, listed, shorten
from embedshift.statistics.meaning import ACTIVE, LEAST, LEAST_FOR_GROUPS, SHARED
from embedshift.store.reader import Reader

# Property → what images with little and with much of it have.
IN_WORDS = {
    "brightness": ("dark pixels", "bright pixels"),
    "contrast": ("little contrast", "much contrast"),
    "saturation": ("little colour", "strong colours"),
    "warmth": ("cold colours", "warm colours"),
    "sharpness": ("soft detail", "sharp detail"),
    "edge_density": ("few edges", "many edges"),
    "border_flatness": ("a busy border", "a flat border"),
    "noise": ("little noise", "much noise"),
    "width": ("a small width", "a large width"),
    "height": ("a small height", "a large height"),
    "bytes_per_pixel": ("strong compression", "little compression"),
}
# Agreement of halves below which a sentence says so.
LITTLE = 0.3
HEADINGS = ("direction", "agreement", "properties", "words", "furthest")
STAR = " *"
# What a sentence or a cell names at most, and characters of a word.
NAMED, LONGEST = 3, 40
Row = Mapping[str, Any]


@dataclass(frozen=True)
class DirectionFinding:
    """One direction: the agreement of its halves, and its rows of each kind, the clearest first."""

    direction: str
    agreement: float | None
    images: Sequence[Row]
    properties: Sequence[Row]
    words: Sequence[Row]

    @property
    def significant(self) -> tuple[list[Row], list[Row], list[Row]]:
        """The properties, words and images that show more than random directions do."""
        properties, words, images = (
            [row for row in rows if row["significant"]] for rows in (self.properties, self.words, self.images)
        )
        return properties, words, images

    @property
    def is_found(self) -> bool:
        return any(self.significant[:2])

    @property
    def sentence(self) -> str:
        properties, words, images = self.significant
        parts = [f"what has {in_words(row)} (ρ {signed(row['value'])} with {row['name']})" for row in properties]
        parts += [f"“{shorten(row['name'], LONGEST)}” (AUC {fixed(row['value'], 2)})" for row in words]
        if not parts:
            none = f"{self.direction}: no property and no word goes with it more than with random directions"
            verb = "lies" if len(images) == 1 else "lie"
            return none + (f"; {count(len(images), 'image')} {verb} further along it." if images else ".")
        first, _, other = self.direction.partition(" - ")
        start = f"Seen from {other}, {first} lies" if other else f"{first} moves images"
        if first.startswith(("map ", "dimensions ")):
            start = f"{first} goes"
        doubt = f" Its halves agree little: {fixed(self.agreement, 2)}." if (self.agreement or 0) < LITTLE else ""
        return f"{start} towards {listed(parts, NAMED)}.{doubt}"


def findings(table: pl.DataFrame) -> list[DirectionFinding]:
    """Returns what a table says of each direction, those with a property or a word first."""
    found = []
    for (direction,), rows in table.group_by("direction", maintain_order=True):
        away = pl.col("value").abs()
        images, properties, words = (rows.filter(kind=kind) for kind in ("image", "property", "word"))
        ordered = (images, properties.sort(away, descending=True), words.sort("significant", "value", descending=True))
        found.append(DirectionFinding(str(direction), rows["agreement"][0], *(part.to_dicts() for part in ordered)))
    return sorted(found, key=lambda finding: not finding.is_found)


def why_nothing(reader: Reader, features: str) -> str:
    """Returns why no direction of these can be explained; "" = some may be."""
    info, images = reader.info, reader.info.counts.measured
    if info.group_count < LEAST:
        words = f"{images:,} images are {info.group_count} groups" if info.groups else f"there are {images} images"
        return f"No direction can be explained: {words}, and at least {LEAST} are needed."
    if features != "groups":
        return "No direction can be explained: no augmentation moves an embedding."
    most = f"in more than {SHARED} images"
    if images < LEAST_FOR_GROUPS:
        of_n = f"of n values, {SHARED + 1} lie so high only if n is {LEAST_FOR_GROUPS} or more, and there are {images}"
        return f"No group of dimensions is {ACTIVE:g} standard deviations above its mean {most}: {of_n}."
    return f"No dimension is {ACTIVE:g} standard deviations above its mean {most}."


def in_words(row: Row) -> str:
    little, much = IN_WORDS.get(row["name"], (f"a low {row['name']}", f"a high {row['name']}"))
    return much if row["value"] > 0 else little


def signed(value: float) -> str:
    return ("+" if value > 0 else "") + fixed(value, 2)


def cells(finding: DirectionFinding) -> tuple[str, ...]:
    """Returns the cells of a row. A dash marks an untested cell, a star images beyond those of random directions."""
    properties, words, _ = finding.significant
    return (
        finding.direction,
        fixed(finding.agreement, 2),
        "\n".join(f"{row['name']} {signed(row['value'])} {interval(row, signed)}" for row in properties)
        or none_of(finding.properties),
        "\n".join(f"{shorten(row['name'], LONGEST)} {fixed(row['value'], 2)} {interval(row)}" for row in words)
        or none_of(finding.words),
        "\n".join(shorten(row["name"], LONGEST) + STAR * row["significant"] for row in finding.images[:NAMED]),
    )


def none_of(rows: Sequence[Row]) -> str:
    return f"none of {len(rows)}" if rows else MISSING


def interval(row: Row, form: Callable[[float], str] = lambda value: fixed(value, 2)) -> str:
    return f"[{form(row['low'])} to {form(row['high'])}]"
