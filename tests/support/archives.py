"""Makers of archives: the same pictures, names and bytes, as a tar and as a Parquet."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Members = Sequence[tuple[str, bytes]]


def write_tar(path: Path, members: Members, mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_parquet(path: Path, members: Members, /, *, rows: int = 2, **columns: Any) -> Path:
    """Names as `image_id`, bytes as `jpg`, in groups of so many rows; a column given as None is left out."""
    table = {"image_id": [name for name, _ in members], "jpg": [data for _, data in members], **columns}
    kept = {name: column for name, column in table.items() if column is not None}
    pq.write_table(pa.table(kept), path, row_group_size=rows)
    return path
