"""The report's facts on how a study was measured: everything needed to repeat or to question it."""

import json
from collections.abc import Sequence

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.report.numbers import count, shorten
from embedshift.report.section import PageInput, Section
from embedshift.sources.base import Failure
from embedshift.statistics.strengths import families_of
from embedshift.store.grouping import copies, copies_line
from embedshift.store.info import StudyInfo
from embedshift.store.listing import study_checksum
from embedshift.store.naming import ImageNaming
from embedshift.store.shards import ShardRecord

# Entries that are listed; others are only counted, so that the page does not grow with the number of images.
LISTED_FAILURES = 50
LISTED_PATHS = 5
LISTED_PARTS = 200

ATTENTION = {
    "cls": "the last layer's weights from the CLS token to the patches, mean over heads",
    "pool": "the attention-pooling head's weights to the patches, mean over heads",
    "mean": "the last layer's weights to the patches, mean over heads and over all query tokens",
}


def measured(page: PageInput) -> Section:
    info, naming = page.info, page.reader.naming
    config = naming.settings(info.config) | {"images": naming.places(info.config["images"])}
    if len(config["images"]) > LISTED_PATHS:
        config["images"] = [*config["images"][:LISTED_PATHS], f"… and {len(config['images']) - LISTED_PATHS:,} more"]
    parts = page.reader.parts
    content = {
        "study": _facts(page),
        "checksum": study_checksum(parts),
        "checksums": [(part.path.name, part.checksum[:12]) for part in parts[:LISTED_PARTS]],
        "more_checksums": max(0, len(parts) - LISTED_PARTS),
        "failures": _failures(page.records, naming),
        "unfinished": not info.complete or info.ended,
        # With all that decides the views as JSON.
        "augmentations": [
            (name, info.descriptions.get(name, ""), json.dumps(entry, ensure_ascii=False))
            for name, entry in info.identity["augmentations"].items()
        ],
        "configuration": json.dumps(config, indent=2, ensure_ascii=False),
    }
    return Section("measured", "Settings and data", content)


def _facts(page: PageInput) -> Json:
    info, naming, records, copied = page.info, page.reader.naming, page.records, copies(page.reader)
    stages = dict.fromkeys(stage for record in records for stage in record.seconds)
    skipped = ", ".join(f"{number:,} {ending}" for ending, number in sorted(info.counts.skipped.items()))
    return {
        "info": info,
        "title": page.encoder,
        "name": naming.setting(info.encoder.name),
        "attention": ATTENTION.get(info.encoder.attention_kind or "", "none: this encoder provides no attention"),
        "measured": page.data.images,
        "failed": sum(len(record.failures) for record in records),
        "skipped": shorten(skipped),
        "copies": copies_line(copied) if copied else "none",
        "places": naming.places(info.config["images"]),
        "listed_paths": LISTED_PATHS,
        "variants": {name: _variants(info, name, naming) for name in info.pairs},
        "sizes": sorted({record.batch_size for record in records}),
        "seconds": {stage: sum(record.seconds.get(stage, 0.0) for record in records) for stage in stages},
    }


def _variants(info: StudyInfo, name: str, naming: ImageNaming) -> Json:
    variants = dict(info.pairs[name])
    places = naming.places(info.source["variants"][name]["paths"])
    first = naming.image(variants["first"]) if variants["stretched"] else ""
    return variants | {"places": places, "first": first}


def _failures(records: Sequence[ShardRecord], naming: ImageNaming) -> list[Failure]:
    failures = [failure for record in records for failure in record.failures][:LISTED_FAILURES]
    return [Failure(naming.image(f.image_id), f.stage, shorten(naming.text(f.reason, f.image_id))) for f in failures]


def headline(info: StudyInfo, measured: int) -> str:
    names, draws = len(info.augmentations), info.draws
    views = count(measured * names * draws, "augmented view")
    families = families_of(info.identity["augmentations"])
    levels = f" ({len(families)} famil{'y' if len(families) == 1 else 'ies'})" if families else ""
    return (
        f"{count(measured, 'image')}, {count(names, 'augmentation')}{levels}, {views} and {count(measured, ORIGINAL)}, "
        f"{info.encoder.precision}"
    )
