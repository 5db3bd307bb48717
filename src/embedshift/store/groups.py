"""Groups of dependent images, such as frames of a scene: chosen for the analysis, not measured."""

import functools
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import GroupNumbers
from embedshift.config.safe_files import expanded, path_text, read_file
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.sources.base import LIST_BYTES, text_or_none
from embedshift.store.files import file_checksum, write_atomically
from embedshift.store.info import GroupsRecord

FILE = "groups.parquet"
NONE, FOLDER, NEAR, MAPPING = "none", "folder", "near", "mapping"
# A name above, a file with the columns image_id and group, or a mapping of image ids to groups.
Choice = str | Path | Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Groups:
    chosen: str
    ids: Sequence[str]
    names: Sequence[str | None]

    @functools.cached_property
    def numbers(self) -> GroupNumbers:
        known: dict[str | int, int] = {}
        keys = (position if name is None else name for position, name in enumerate(self.names))
        return np.array([known.setdefault(key, len(known)) for key in keys], np.intp)

    @property
    def record(self) -> GroupsRecord:
        count, digest = len(np.unique(self.numbers)), hashlib.sha256(self.numbers.astype("<i8").tobytes()).hexdigest()
        return GroupsRecord(chosen=self.chosen, count=count, digest=digest)


def find_groups(choice: Choice, ids: Sequence[str], near: Callable[[], Sequence[str | None]]) -> Groups | None:
    """Returns the chosen groups of some images; None if all images are independent."""
    if choice == NONE:
        return None
    if choice == FOLDER:
        groups = Groups(FOLDER, ids, [image_id.rpartition("/")[0] for image_id in ids])
    elif choice == NEAR:
        groups = Groups(NEAR, ids, near())
    else:
        by_id = choice if isinstance(choice, Mapping) else _read(expanded(path_text("groups", choice)))
        if missing := [image_id for image_id in ids if image_id not in by_id]:
            words = f"no group for {len(missing):,} of {len(ids):,} images (first: {missing[0]})"
            raise UsageError(f"`groups`: {'' if isinstance(choice, Mapping) else f'{choice}: '}{words}")
        names = [text_or_none(by_id[image_id]) for image_id in ids]
        groups = Groups(MAPPING if isinstance(choice, Mapping) else Path(choice).name, ids, names)
    if len(ids) > 1 and groups.record.count == 1:
        raise UsageError(f"`groups` {groups.chosen}: all images are in one group, so that none can be compared")
    return groups


def _read(path: Path) -> Mapping[str, str | None]:
    try:
        content = io.BytesIO(read_file(path, LIST_BYTES))
        is_parquet = path.suffix == ".parquet"
        table = pl.read_parquet(content) if is_parquet else pl.read_csv(content, infer_schema=False)
        # A blank line of a CSV file is a row without an id.
        table = table.select("image_id", "group").drop_nulls("image_id")
        table = table.with_columns(pl.selectors.float().fill_nan(None)).cast(pl.String)
    except (OSError, EmbedshiftError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        words = f"neither {FOLDER}, {NEAR} or {NONE} nor a CSV or Parquet file with the columns image_id and group"
        raise UsageError(f"`groups`: {path}: {words} ({reason(error):.200})") from error
    if double := table.filter(pl.col("image_id").is_duplicated())["image_id"].head(1).to_list():
        raise UsageError(f"`groups`: {path}: {double[0]} has more than one row")
    return dict(table.iter_rows())


def write_groups(folder: Path, groups: Groups) -> dict[str, str]:
    columns = {"image_id": groups.ids, "group": groups.names}
    table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return {FILE: write_atomically(folder / FILE, lambda hidden: table.write_parquet(hidden))}


@functools.lru_cache(maxsize=2)
def stored_groups(folder: Path, checksum: str) -> GroupNumbers:
    table = read_groups(folder, checksum)
    return Groups("", table["image_id"].to_list(), table["group"].to_list()).numbers


def read_groups(folder: Path, checksum: str) -> pl.DataFrame:
    path = folder / FILE
    try:
        if file_checksum(path) != checksum:
            raise UsageError("its content does not match its checksum")
        return pl.read_parquet(path, glob=False).select(pl.col("image_id", "group").cast(pl.String))
    except (EmbedshiftError, OSError, pl.exceptions.PolarsError) as error:
        words = str(error).removeprefix(f"{path}: ")
        raise UsageError(f"{path}: {words}; choose `groups` again") from error
