"""What a result shows of itself: a few lines in a terminal, and a table below them in a notebook."""

import html
from collections.abc import Iterable

import polars as pl


class Shown:
    """A result with lines and a table."""

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
