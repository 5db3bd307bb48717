"""What a result shows of itself: lines and a table in a terminal or a notebook, and names as they are in Markdown."""

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from embedshift.config.safe_files import output_path
from embedshift.errors import UsageError
from embedshift.store.reader import Reader
from embedshift.store.table import write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Punctuation by which CommonMark, GitHub and the Hub mark something: emphasis, code, links, tables, names, mathematics.
_MARKS = "\\`*_[]|#@~$"
# Words for a figure, and its name → the paragraph of a page that shows it; none if no file of it can be shown.
Picture = Callable[[str, str], list[str]]


class Shown:
    def _lines(self) -> Iterable[str]:
        raise NotImplementedError

    def _table(self) -> pl.DataFrame | None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        lines, table = "<br>".join(map(html.escape, self._lines())), self._table()
        if table is None or table.is_empty():
            return f"<p>{lines}</p>"
        with pl.Config(
            tbl_rows=-1, tbl_cols=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, float_precision=3
        ):
            cells = table._repr_html_().replace("&quot;", "")  # Polars puts texts in quotes
        return f"<p>{lines}</p>{cells}"


def escaped(text: str) -> str:
    """Escapes a text for one line of Markdown, so that a reader sees the text itself."""
    plain = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
    marked = "".join(f"\\{letter}" if letter in _MARKS else letter for letter in plain)
    return marked.replace("://", "\\://").replace("www.", "www\\.")


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def save_page(
    out: str | Path,
    page: str,
    tables: Mapping[str, pl.DataFrame],
    figures: Mapping[str, "Callable[[], Figure]"],
    paragraphs: Callable[[Picture], Iterable[str]],
    formats: Sequence[str],
) -> list[Path]:
    """Writes tables as CSV and Parquet, figures, and a page of Markdown; returns the files, the page as the last.

    Raises:
        UsageError: A format is unknown, or the folder holds a study or cannot be written.
    """
    from embedshift.figures import check_formats, save

    check_formats(formats)
    folder = output_path(out)
    if Reader(folder).exists():
        raise UsageError(f"{folder}: contains a study; choose another `out`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror})") from error
    written = [folder / f"{name}.{ending}" for name in tables for ending in ("csv", "parquet")]
    for path in written:
        write_table(path, tables[path.stem])
    for name, draw in figures.items():
        figure = draw()
        written += [save(figure, folder / "figures" / f"{name}.{ending}") for ending in formats]
    shown = [ending for ending in ("svg", "png") if ending in formats][:1]
    parts = paragraphs(lambda words, name: [f"![{words}](figures/{name}.{ending})" for ending in shown])
    written.append(folder / f"{page}.md")
    written[-1].write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return written
