"""What a question answers: `Result` in Python, `Grid` for a table of text, `Output` for what a command prints."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from embedshift.config import Json
from embedshift.config.safe_files import output_path
from embedshift.errors import UsageError
from embedshift.store.reader import Reader
from embedshift.store.table import write_table
from embedshift.study.shown import Shown, escaped, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A name stays on its line, a number does too and stands at the right, a text is folded, an outcome has a colour.
Kind = Literal["name", "number", "text", "outcome"]
# Words for a figure, and its name → the paragraph of a page that shows it; none if no file of it can be shown.
Picture = Callable[[str, str], list[str]]


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Args:
        headings: Of the columns.
        kinds: How each column is laid out; the last kind holds for all columns after it.
        rows: The cells; an empty row draws a line.
        title: A line above it.
        caption: A line below it.
        spare: Headings of columns to leave out where the terminal is too narrow, in this order.
        narrow: What stands in its place where it does not fit.
    """

    headings: Sequence[str]
    kinds: Sequence[Kind]
    rows: Sequence[Sequence[str]]
    title: str = ""
    caption: str = ""
    spare: Sequence[str] = ()
    narrow: Sequence["Grid"] = ()

    def markdown(self) -> str:
        """Returns the table as Markdown, with its names escaped."""
        return markdown_table(self.headings, [[escaped(cell) for cell in row] for row in self.rows])


@dataclass(frozen=True)
class Output:
    """What a command prints.

    Args:
        content: The object to print as JSON.
        parts: Lines and tables for a reader, in their order.
        exit_code: The exit code of the command.
        files: Texts to write to files that the user named.
    """

    content: Json
    parts: Iterable[str | Grid]
    exit_code: int = 0
    files: Mapping[Path, str] = field(default_factory=dict)


class Result(Shown):
    """The result of a question in Python: lines, tables and figures, which `save` writes as files and as a page."""

    # The name of its page.
    name: str

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        raise NotImplementedError

    def _figures(self) -> Mapping[str, Callable[[], "Figure"]]:
        return {}

    def _page(self, picture: Picture) -> Iterable[str]:
        raise NotImplementedError

    def to_dicts(self) -> Json:
        """Returns what is decided, and all tables as lists of rows, ready for JSON."""
        raise NotImplementedError

    def parts(self) -> Iterable[str | Grid]:
        """Returns the lines and tables that the command prints, in their order."""
        raise NotImplementedError

    def answer(self, written: Sequence[Path] = (), exit_code: int = 0, **content: Any) -> Output:
        """Returns what the command prints.

        Args:
            written: The files that it has written.
            exit_code: Its exit code.
            **content: More entries of the object to print as JSON.
        """
        files = [str(file) for file in written]
        lines = [f"Written: {', '.join(files)}"] if files else []
        return Output(self.to_dicts() | content | {"written": files}, [*self.parts(), *lines], exit_code)

    def save(self, out: str | Path, formats: Sequence[str] = ("svg",)) -> list[Path]:
        """Writes every table as CSV and Parquet, all figures, and a page of Markdown.

        Args:
            out: A folder that holds no study; created where it is missing.
            formats: File formats of the figures: "svg", "png", "pdf".

        Returns:
            The paths of the written files, the page as the last.

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
        tables = self.tables
        written = [folder / f"{name}.{ending}" for name in tables for ending in ("csv", "parquet")]
        for path in written:
            write_table(path, tables[path.stem])
        for name, draw in self._figures().items():
            figure = draw()
            written += [save(figure, folder / "figures" / f"{name}.{ending}") for ending in formats]
        shown = [ending for ending in ("svg", "png") if ending in formats][:1]
        parts = self._page(lambda words, name: [f"![{words}](figures/{name}.{ending})" for ending in shown])
        written.append(folder / f"{self.name}.md")
        written[-1].write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        return written
