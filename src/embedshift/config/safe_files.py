"""Safe reading and writing: only regular files of limited size, and YAML of plain values."""

import contextlib
import errno
import functools
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from embedshift.errors import EmbedshiftError, UsageError, cause, reason

if TYPE_CHECKING:
    import pydantic
    import yaml

T = TypeVar("T")

# Content of a study's folder.
STUDY_FILES = ("study.json", "shards", "failures.parquet", "groups.parquet", "tables", "figures", "report.html")
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
# Maximum bytes of a YAML file, nesting depth, and characters of one text (Python prints numbers of at most 4,300
# digits).
YAML_BYTES, YAML_DEPTH, YAML_TEXT = 256 * 1024, 20, 3500
# Numbers that YAML reads in another base.
_BASES = {60: re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), 8: re.compile(r"[-+]?0[0-7_]+")}


def expanded(path: str | os.PathLike[str]) -> Path:
    """Returns a path with ~ replaced by the user's home; ~ with an unknown user stays, and no such file exists."""
    return Path(os.path.expanduser(path))


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    if "\0" in os.fspath(path):
        raise EmbedshiftError("the name contains a zero byte, which no file name can have")
    # Before and after: opening a device may have an effect, and a socket cannot be opened.
    _require_regular_file(os.stat(path))
    opened = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb")
    try:
        _require_regular_file(os.fstat(opened.fileno()))
    except (OSError, EmbedshiftError):
        opened.close()
        raise
    return opened


def open_internal_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens an internal file for reading and writing, unbuffered; creates it if missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    opened = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, "not a file")
    return opened


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        refuse_larger(size, most)
        data = file.read(size + 1)
    if len(data) != size:
        raise OSError(errno.ESTALE, "the file changed while it was read")
    return data


def read_text(path: str | os.PathLike[str], most: int) -> str:
    try:
        return read_file(path, most).decode("utf-8-sig")
    except (OSError, EmbedshiftError) as error:
        raise UsageError(f"{path}: {cause(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text in UTF-8") from error


def path_text(name: str, given: object) -> str:
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"`{name}`: {given!r:.60} is no path")
    return str(os.fspath(given))


def output_path(given: object) -> Path:
    """Returns the path of an output; refuses an empty one, which would be the current folder, and an address."""
    if not (text := path_text("out", given)):
        raise UsageError("`out` is empty: give a path")
    if "\0" in text:
        raise UsageError(f"`out` {text!r} contains a zero byte, which no path can have")
    slashes = "//" if isinstance(given, str) else "/"  # a `Path` of `s3://bucket` has lost a slash
    if re.match(rf"[A-Za-z][\w+.-]+:{slashes}", text):
        raise UsageError(f"`out` {text} is an address: give a path of this machine, and copy the output from there")
    return Path(text)


def refuse_output(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
    whole = path.resolve()
    for folder in whole.parents[:2]:
        if (folder / STUDY_FILES[0]).is_file() and whole.relative_to(folder).parts[0] in STUDY_FILES:
            raise UsageError(f"{path}: belongs to the study in {folder}; name another file")


def write_file(path: Path, data: bytes) -> None:
    """Writes a file named by the user, completely or not at all; only over a regular file outside a study."""
    refuse_output(path)
    target = path.resolve()
    try:
        if target.exists():
            _require_regular_file(target.stat())
        write_whole(target, lambda hidden: hidden.write_bytes(data))
    except (OSError, EmbedshiftError) as error:
        raise UsageError(f"{path}: cannot be written ({cause(error)})") from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write(hidden path)` and moves the result to `path`, so that no reader or crash sees half a file."""
    # Absolute, since Arrow would take a relative path such as "clip:v1/shards" for a URI.
    hidden = path.absolute().with_name(f".{path.name}.{os.getpid()}")
    try:
        hidden.unlink(missing_ok=True)  # it may be a link
        write(hidden)
        with open(hidden, "rb") as file:
            os.fsync(file.fileno())
        os.replace(hidden, path)
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)


def in_plain_words(message: str) -> str:
    """Returns a message of pydantic as the end of a sentence about a value."""
    words = message.partition(", unable")[0]
    return words.replace("Input should be", "must be").replace("Field required", "is missing")


@functools.lru_cache(maxsize=64)
def _adapter(kind: Any) -> "pydantic.TypeAdapter[Any]":
    import pydantic

    return pydantic.TypeAdapter(kind)


def as_kind(kind: type[T], content: Any) -> T:
    """Returns the content as pydantic reads it; what reads a type is made once, which takes longer than its use."""
    made: T = _adapter(kind).validate_python(content)  # type: ignore[arg-type]
    return made


def typed(kind: type[T], content: Any) -> T:
    import pydantic  # takes a tenth of a second, which `--help` does not need

    try:
        return as_kind(kind, content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {in_plain_words(first['msg'])}") from error


def refuse_larger(size: int, most: int) -> None:
    if size > most:
        raise EmbedshiftError(f"larger than {_size(most)} ({_size(size)})")


def _require_regular_file(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise EmbedshiftError(f"{_KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a file")


def _size(count: int) -> str:
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if count >= unit:
            return f"{count // unit} {name}" if count % unit == 0 else f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def read_yaml(file: Path) -> Any:
    """Reads a YAML file as plain values; it cannot run code or grow beyond the file's size."""
    import yaml

    text, loader = read_text(file, YAML_BYTES), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _require_plain_values(yaml.parse(text, loader))
        node = yaml.compose(text, loader)
        _refuse_duplicate_keys(node)
        return None if node is None else yaml.SafeLoader("").construct_document(node)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    except yaml.MarkedYAMLError as error:
        raise UsageError(f"{file}: not YAML ({_line(error.problem_mark)}{error.problem})") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two for impossible numbers and dates
        raise UsageError(f"{file}: not YAML ({reason(error)})") from error


def _require_plain_values(events: "Iterable[yaml.Event]") -> None:
    import yaml

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag = str(getattr(event, "tag", None) or "").replace("tag:yaml.org,2002:", "!!")
        if getattr(event, "anchor", None):
            words = "anchors and aliases (& and *) are not allowed; repeat the value instead"
        elif tag:
            words = f"the tag {tag[:60]} is not allowed; write a plain value"
        elif depth > YAML_DEPTH:
            words = f"nested deeper than {YAML_DEPTH} lists and mappings"
        elif len(text := getattr(event, "value", "")) > YAML_TEXT:
            words = f"a text of more than {YAML_TEXT:,} characters"
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and (base := _base(text)):
            words = f"{text:.60} is a number to the base {base} in YAML; write a plain number, or put it in quotes"
        else:
            continue
        raise UsageError(f"{_line(event.start_mark)}{words}")


def _base(text: str) -> int | None:
    return next((base for base, form in _BASES.items() if form.fullmatch(text)), None)


def _refuse_duplicate_keys(node: Any) -> None:
    """Refuses duplicate keys in a mapping, and merged mappings, which could add such keys."""
    if not isinstance(getattr(node, "value", None), list):
        return
    names: set[str] = set()
    for part in node.value:
        name, inner = part if isinstance(part, tuple) else (None, part)
        if name is not None and isinstance(name.value, str):
            if name.value in names or name.tag.endswith(":merge"):
                words = "is not allowed; repeat the values instead" if name.tag.endswith(":merge") else "appears twice"
                raise UsageError(f"{_line(name.start_mark)}{name.value[:60]!r} {words}")
            names.add(name.value)
        _refuse_duplicate_keys(inner)


def _line(mark: Any) -> str:
    return "" if mark is None else f"line {mark.line + 1}: "
