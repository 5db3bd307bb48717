"""The documents of FiftyOne's dataset format, as its exporter in FiftyOne 1 writes them: MongoDB's JSON."""

import base64
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from embedshift.config import Json

# The oldest version whose documents look like this. FiftyOne brings documents of older versions up to its own.
VERSION = "1.0.0"

FLOAT, STRING, VECTOR = "FloatField", "StringField", "VectorField"
_OBJECT_ID, _DATE, _LIST, _DOCUMENT = "ObjectIdField", "DateTimeField", "ListField", "EmbeddedDocumentField"
_DYNAMIC = "fiftyone.core.odm.embedded_document.DynamicEmbeddedDocument"
# Names that fields of samples have already.
_TAKEN = frozenset((
    "id", "filepath", "tags", "metadata", "media_type", "created_at", "last_modified_at", "group", "frames",
    "media_reference", "image_id", "caption", "failure", "embedding", "attention", "augmentation", "relative_shift", "original",
))  # fmt: skip


def field(name: str, kind: str, *, of: str | None = None, fields: Sequence[Json] = (), **more: Any) -> Json:
    """Describes one field of a dataset."""
    nothing = dict.fromkeys(("subfield", "description", "info", "created_at"))
    named = {"name": name, "ftype": f"fiftyone.core.fields.{kind}", "embedded_doc_type": of, "fields": [*fields]}
    return named | nothing | {"db_field": name, "read_only": False} | more


def default_fields() -> list[Json]:
    """Describes the fields that every dataset of images has."""
    sizes = [field(name, "IntField") for name in ("size_bytes", "width", "height", "num_channels")]
    return [
        field("id", _OBJECT_ID, db_field="_id"),
        field("filepath", STRING),
        field("tags", _LIST, subfield=f"fiftyone.core.fields.{STRING}"),
        field("metadata", _DOCUMENT, of="fiftyone.core.metadata.ImageMetadata", fields=[
            sizes[0], field("mime_type", STRING), *sizes[1:]]),
        field("created_at", _DATE, read_only=True),
        field("last_modified_at", _DATE, read_only=True),
        field("_media_type", STRING),
        field("_rand", FLOAT),
        field("_dataset_id", _OBJECT_ID),
    ]  # fmt: skip


def numbers_field(name: str, numbers: Iterable[str], description: str) -> Json:
    """Describes a field that holds several named numbers."""
    return field(name, _DOCUMENT, of=_DYNAMIC, fields=[field(n, FLOAT) for n in numbers], description=description)


def group_field() -> Json:
    """Describes the field that joins the samples of a group."""
    parts = [field("id", _OBJECT_ID, db_field="_id"), field("name", STRING)]
    return field("group", _DOCUMENT, of="fiftyone.core.groups.Group", fields=parts)


def heatmap_field(name: str) -> Json:
    """Describes a field that holds a map over the image."""
    parts = [
        field("id", _OBJECT_ID, db_field="_id"),
        field("tags", _LIST, subfield=f"fiftyone.core.fields.{STRING}"),
        field("map", "ArrayField"),
        field("map_path", STRING),
        field("range", "HeatmapRangeField", subfield=f"fiftyone.core.fields.{FLOAT}"),
    ]
    return field(name, _DOCUMENT, of="fiftyone.core.labels.Heatmap", fields=parts)


def dataset(fields: Sequence[Json], info: Json, *, slices: Sequence[str] = ()) -> Json:
    """Returns the document of a dataset, the content of metadata.json."""
    found: Json = {
        "name": "embedshift",
        "version": VERSION,
        "media_type": "group" if slices else "image",
        "info": info,
        "sample_fields": [*default_fields(), *fields],
        "frame_fields": [],
        "saved_views": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }
    if slices:
        kinds = dict.fromkeys(slices, "image")
        found |= {"group_field": "group", "group_media_types": kinds, "default_group_slice": slices[0]}
    return found


def sample(key: str, path: str, tags: Sequence[str], values: Mapping[str, Any]) -> Json:
    """Returns the document of one sample."""
    place = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=6).digest()) / 2**48
    known = {"_id": object_id(key), "filepath": path, "tags": [*tags], "metadata": None, "_media_type": "image"}
    return known | {"_rand": place} | dict(values)


def object_id(key: str) -> Json:
    """Returns an id that the key decides, so that an export can be repeated."""
    return {"$oid": hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()}


def numbers(values: Mapping[str, float | None]) -> Json:
    """Returns the value of a `numbers_field`."""
    return {"_cls": "DynamicEmbeddedDocument", **values}


def group(key: str, name: str) -> Json:
    """Returns the value of the `group_field`: samples of the same key are of one group."""
    return {"_id": object_id(f"group {key}"), "_cls": "Group", "name": name}


def heatmap(key: str, values: Any) -> Json:
    """Returns the value of a `heatmap_field`."""
    ends = [float(np.min(values)), float(np.max(values))]
    head = {"_id": object_id(f"heatmap {key}"), "_cls": "Heatmap", "tags": []}
    return head | {"map": array(values), "map_path": None, "range": ends}


def array(values: Any) -> Json:
    """Returns an array as FiftyOne keeps it: `numpy.save`, compressed by zlib, as binary data."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "subType": "00"}}


def field_names(names: Sequence[str]) -> dict[str, str]:
    """Returns a name of a field for each name: letters, digits and underscores, and none that is taken."""
    found: dict[str, str] = {}
    used = set(_TAKEN)
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "view"
        free = next(each for each in (plain, *(f"{plain}_{n}" for n in range(2, len(names) + 3))) if each not in used)
        used.add(free)
        found[name] = free
    return found
