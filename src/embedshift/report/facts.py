"""The report's facts on how a study was measured: everything needed to repeat or to question it."""

import json
from collections.abc import Mapping, Sequence

from embedshift.augmentations import ORIGINAL
from embedshift.report.numbers import count, shorten
from embedshift.sources.base import Failure
from embedshift.statistics.families import families_of
from embedshift.store.copies import copies_line
from embedshift.store.info import StudyInfo
from embedshift.store.naming import ImageNaming
from embedshift.store.parts import Part
from embedshift.store.shards import ShardRecord

Fact = tuple[str, str]

# Entries that are listed; others are only counted, so that the page does not grow with the number of images.
LISTED_FAILURES = 50
LISTED_PATHS = 5
LISTED_PARTS = 200

ON_FILES = "the file's image, reduced where its longest side has more than {:,} pixels, before it is resized"

ATTENTION = {
    "cls": "the last layer's weights from the CLS token to the patches, mean over heads",
    "pool": "the attention-pooling head's weights to the patches, mean over heads",
    "mean": "the last layer's weights to the patches, mean over heads and over all query tokens",
}


def facts(
    info: StudyInfo, records: Sequence[ShardRecord], title: str, *, naming: ImageNaming, copied: int, checksum: str
) -> dict[str, list[Fact]]:
    encoder, identity, config = info.encoder, info.identity, info.config
    name, grid = naming.setting(encoder.name), encoder.grid
    attention = ATTENTION.get(encoder.attention_kind or "", "none: this encoder provides no attention")
    sizes = sorted({record.batch_size for record in records})
    given_input = [
        ("attention", f"{grid[0]} x {grid[1]} patches; {attention}" if grid else attention),
        ("input", _input(info)),
        *([("pixel mean; std", f"{_numbers(encoder.mean)}; {_numbers(encoder.std)}")] if any(encoder.mean) else []),
    ]
    return {
        "Encoder": [
            ("name", title if title == name else f"{title} ({name})"),
            *([("revision", encoder.revision)] if encoder.revision else []),
            ("hash of the weights", encoder.weights_hash),
            ("embedding", f"{encoder.dim} numbers, not normalised{_words(encoder.embedding_definition)}"),
            *(given_input if info.has_pixels else ()),
            ("precision", encoder.precision),
        ],
        "Images": [
            ("listed", count(info.counts.images, "image")),
            ("measured", count(sum(record.images for record in records), "image")),
            ("failed", count(sum(len(record.failures) for record in records), "image")),
            ("skipped files", shorten(_counted(info.counts.skipped)) or "none"),
            ("copies", copies_line(copied) if copied else "none"),
            ("source", _paths(naming.places(config["images"]))),
            ("hash of the names", identity["images"]["ids_hash"]),
            *_variants(info, naming),
        ],
        "Study": [
            ("hash of the configuration", info.config_hash),
            ("checksum of the shards", checksum),
            ("seed", str(config["seed"])),
            ("views per augmentation", str(config["draws"])),
            *([("augmentations change", ON_FILES.format(identity["longest"]))] if "longest" in identity else []),
            ("batch size", ", ".join(map(str, sizes)) + " views" if sizes else "–"),
            ("seconds by stage", _seconds(records)),
            ("embedshift", info.embedshift),
            ("versions", ", ".join(f"{name} {version}" for name, version in info.versions.items())),
        ],
    }


def augmentation_lines(info: StudyInfo) -> list[tuple[str, str, str]]:
    """Returns each augmentation with what it is, and all that decides its views as JSON."""
    return [
        (name, info.descriptions.get(name, ""), json.dumps(entry, ensure_ascii=False))
        for name, entry in info.identity["augmentations"].items()
    ]


def configuration(info: StudyInfo, naming: ImageNaming) -> str:
    """Returns the settings of the run as JSON, without folders; a long list of images is cut."""
    config = naming.settings(info.config) | {"images": naming.places(info.config["images"])}
    if len(config["images"]) > LISTED_PATHS:
        config["images"] = [*config["images"][:LISTED_PATHS], f"… and {len(config['images']) - LISTED_PATHS:,} more"]
    return json.dumps(config, indent=2, ensure_ascii=False)


def listed_checksums(parts: Sequence[Part]) -> tuple[list[Fact], int]:
    """Returns the first shards with the start of their checksums, and the number of shards not listed."""
    shown = [(part.path.name, part.checksum[:12]) for part in parts[:LISTED_PARTS]]
    return shown, len(parts) - len(shown)


def listed_failures(records: Sequence[ShardRecord], naming: ImageNaming) -> tuple[list[Failure], int]:
    """Returns the first failures, with shortened reasons, and the number of failures not listed."""
    failures = [failure for record in records for failure in record.failures]
    shown = [
        Failure(naming.image(f.image_id), f.stage, shorten(naming.text(f.reason, f.image_id)))
        for f in failures[:LISTED_FAILURES]
    ]
    return shown, len(failures) - len(shown)


def headline(info: StudyInfo, measured: int) -> str:
    """Returns one line of counts for the top of the page."""
    names, draws = len(info.augmentations), info.draws
    views = count(measured * names * draws, "augmented view")
    families = families_of(info.identity["augmentations"])
    levels = f" ({len(families)} famil{'y' if len(families) == 1 else 'ies'})" if families else ""
    return (
        f"{count(measured, 'image')}, {count(names, 'augmentation')}{levels}, {views} and {count(measured, ORIGINAL)}, "
        f"{info.encoder.precision}"
    )


def _variants(info: StudyInfo, naming: ImageNaming) -> list[Fact]:
    """Returns where the variants of each name come from, and how many are missing or stretched."""
    lines: list[Fact] = []
    for name, variants in info.pairs.items():
        places = _paths(naming.places(info.source["variants"][name]["paths"]))
        lacking = f"; {variants['missing']:,} missing" if variants["missing"] else ""
        lines.append((f"variants {name}", f"{count(variants['count'], 'image')} from {places}{lacking}"))
        if variants["stretched"]:
            words = "whose aspect ratio differs from the original by more than 2 %, so the content is stretched"
            first = naming.image(variants["first"])
            lines.append((f"shapes of {name}", f"{count(variants['stretched'], 'variant')} {words} (first: {first})"))
    return lines


def _input(info: StudyInfo) -> str:
    if info.encoder.takes_images and "longest" in info.identity:
        return "images at the file's own size, which the encoder itself prepares; metrics of pixels take squares"
    return f"{info.encoder.size} x {info.encoder.size} pixels, resized by {info.identity['resize']}"


def _words(definition: str | None) -> str:
    return f": {definition}" if definition else ""


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _counted(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {ending}" for ending, number in sorted(skipped.items()))


def _paths(paths: Sequence[str]) -> str:
    rest = f" … and {len(paths) - LISTED_PATHS:,} more" if len(paths) > LISTED_PATHS else ""
    return ", ".join(paths[:LISTED_PATHS]) + rest


def _seconds(records: Sequence[ShardRecord]) -> str:
    total: dict[str, float] = {}
    for record in records:
        for stage, seconds in record.seconds.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return ", ".join(f"{stage} {seconds:,.1f}" for stage, seconds in total.items()) or "–"


def figure_note(shown: int, too_large: int) -> str:
    """Returns a note on missing figures, and on the place of the files."""
    if not shown:
        return "This file contains no figure."
    left_out = f" {too_large} of them are too large for this page." if too_large else ""
    return f"The files in figures/ contain the same figures for print.{left_out}"
