"""What a result shows of itself: lines and a table in a terminal or a notebook, and names as they are in Markdown."""

import html
from collections.abc import Iterable, Sequence

import polars as pl

# Punctuation by which CommonMark, GitHub and the Hub mark something: emphasis, code, links, tables, names, mathematics.
_MARKS = "\\`*_[]|#@~$"


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
