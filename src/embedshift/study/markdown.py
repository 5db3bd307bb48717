"""Markdown that shows names and values as they are, whatever they hold."""

from collections.abc import Sequence

# Punctuation by which CommonMark, GitHub and the Hub mark something: emphasis, code, links, tables, names, mathematics.
_MARKS = "\\`*_[]|#@~$"


def escaped(text: str) -> str:
    """Escapes a text for one line of Markdown, so that a reader sees the text itself."""
    plain = printable(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;")
    marked = "".join(f"\\{letter}" if letter in _MARKS else letter for letter in plain)
    return marked.replace("://", "\\://").replace("www.", "www\\.")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
