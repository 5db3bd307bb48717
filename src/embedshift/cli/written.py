"""The paths of what a run or a report has written; that of the report stands alone on the last line."""

from collections.abc import Iterator
from pathlib import Path

REPORT = "report.html"
_OTHERS = ("study.json", "shards", "failures.parquet", "tables", "figures")


def written(folder: Path) -> Iterator[str]:
    """Yields a line for each file and folder of a study."""
    yield "Written:"
    yield from (f"  {folder / name}" for name in _OTHERS if (folder / name).exists())
    if (folder / REPORT).exists():
        yield f"Report: {folder / REPORT}"
