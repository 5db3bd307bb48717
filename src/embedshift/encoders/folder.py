"""Checks the files of a model's folder before any library reads them."""

import contextlib
import difflib
import json
import os
from pathlib import Path

from embedshift.config.safe_files import expanded, open_file, read_file, refuse_larger
from embedshift.errors import EmbedshiftError, UsageError, cause

# Maximum size in bytes of each kind of file in a model's folder.
SETTINGS_BYTES = 2**24
BYTES = dict.fromkeys((".json", ".txt", ".model", ".jinja", ".md"), 2**28) | dict.fromkeys(
    (".safetensors", ".bin", ".pt", ".pth"), 2**38
)
# Lists larger than settings, read by libraries.
VOCABULARIES = ("tokenizer.json", "vocab.json")


def local_path(name: str) -> Path:
    try:
        path = expanded(name)
        path.is_dir()
    except (OSError, RuntimeError) as error:  # too long, or `~` of an unknown user
        raise UsageError(f"{name[:100]}: no such folder ({cause(error)})") from error
    return path


def no_such_folder(model: str) -> str:
    path = local_path(model)
    with contextlib.suppress(OSError):
        beside = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
        if nearest := difflib.get_close_matches(path.name, beside, n=1):
            return f"{model}: no such folder (did you mean {path.parent / nearest[0]}?)"
    return f"{model}: no such folder"


def check_folder(folder: Path) -> None:
    """Refuses a model's folder with other than regular files of limited size; libraries would wait for a FIFO."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise EmbedshiftError(f"{folder}: {cause(error)}") from error
    for name in names:
        path, ending = folder / name, os.path.splitext(name)[1].lower()
        try:
            if ending == ".json" and name not in VOCABULARIES:
                with contextlib.suppress(ValueError):  # the file's reader reports invalid JSON
                    json.loads(read_file(path, SETTINGS_BYTES))
            elif ending in BYTES:
                with open_file(path) as file:
                    refuse_larger(os.fstat(file.fileno()).st_size, BYTES[ending])
        except RecursionError as error:
            raise EmbedshiftError(f"{path}: JSON that is nested too deeply; refused") from error
        except FileNotFoundError as error:
            raise EmbedshiftError(f"{path}: a link to nothing; restore the file or remove the link") from error
        except (OSError, EmbedshiftError) as error:
            raise EmbedshiftError(f"{path}: {cause(error)}") from error
