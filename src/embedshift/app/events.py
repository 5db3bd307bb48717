"""What a browser may send to the page: an event names fields of the page, and no file but one that was uploaded to it.

Another program of this machine can send events too, and Gradio would look at the paths and URLs in them before the
page does.
"""

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedshift.config.files import read_file
from embedshift.errors import EmbedshiftError
from embedshift.sources.base import IMAGE_BYTES

JOIN = "/gradio_api/queue/join"
# All that a browser posts here; an upload is no JSON.
POSTS = (JOIN, "/gradio_api/upload", "/gradio_api/reset", "/gradio_api/cancel")
EVENT_BYTES = 2**20
META = {"_type": "gradio.FileData"}
# What a field may hold, by the name of its kind, if it is not empty. The state of a tab stays on this side.
KINDS: Mapping[str, tuple[type, ...]] = {
    "dropdown": (str,),
    "textbox": (str,),
    "slider": (int, float),
    "number": (int, float),
    "state": (),
    "file": (),
}
Fields = Mapping[int, Sequence[str]]
_KEYS = {"data", "event_data", "fn_index", "trigger_id", "session_hash"}
# Gradio names the folder of an upload by the hash of its bytes.
_FOLDER = re.compile(r"[0-9a-f]{64}")
_TYPES = {
    "path": str,
    "url": str | None,
    "orig_name": str | None,
    "mime_type": str | None,
    "size": int | None,
    "is_stream": bool | None,
}


def problem(body: bytes, fields: Fields) -> str:
    """Says what is wrong with an event, "" if nothing; `fields`: the kinds of the fields of each event of the page."""
    try:
        event = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(event, dict) or any(value and key not in _KEYS for key, value in event.items()):
        return "not an event"
    number, data = event.get("fn_index"), event.get("data")
    if type(number) is not int or number not in fields:
        return "it has no such number"
    if not isinstance(event.get("session_hash"), str) or not isinstance(event.get("trigger_id"), int | None):
        return "it has no session"
    if not isinstance(event.get("event_data"), dict | str | None):  # a text that changes sends itself
        return "its own data are of another type"
    if not isinstance(data, list) or len(data) != len(fields[number]):
        return f"it has {len(fields[number])} fields"
    for kind, value in zip(fields[number], data, strict=True):
        if value is not None and type(value) not in KINDS[kind] and not (kind == "file" and uploaded(value)):
            what = "a file that was not uploaded here" if kind == "file" else f"a {type(value).__name__}"
            return f"{what} in a field of the kind {kind!r}"
    return ""


def uploaded(file: Any) -> tuple[str, Path] | None:
    """Returns name and path of a file that was uploaded in this run of the page; None for everything else."""
    if not isinstance(file, dict) or file.get("meta") != META:
        return None
    if not all(isinstance(file.get(key), kind) for key, kind in _TYPES.items()):
        return None
    path = Path(file["path"])
    with contextlib.suppress(OSError, ValueError):
        folder = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
        if path.resolve() == folder / path.parent.name / path.name and _FOLDER.fullmatch(path.parent.name):
            name = file.get("orig_name") or path.name
            return name.encode("utf-8", "replace").decode(), path
    return None


def read_and_delete(path: Path) -> bytes:
    """Returns the bytes of an uploaded file, which is deleted."""
    try:
        return read_file(path, IMAGE_BYTES)
    except FileNotFoundError as error:
        raise EmbedshiftError("it was deleted after its answer; choose it again") from error
    finally:
        delete_upload(path)


def delete_uploads(body: bytes) -> None:
    """Deletes the files uploaded here that a refused event names."""
    with contextlib.suppress(ValueError, RecursionError):
        event = json.loads(body.decode("utf-8"))
        for value in event.get("data") or () if isinstance(event, dict) else ():
            path = isinstance(value, dict) and value.get("path")
            if isinstance(path, str) and (found := uploaded({"path": path, "meta": META})):
                delete_upload(found[1])


def delete_upload(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
        path.parent.rmdir()
