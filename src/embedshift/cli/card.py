"""What `embedshift card` prints or writes: a section of Markdown for a model card."""

from pathlib import Path

from embedshift.cli.words import printable, say
from embedshift.cli.written import write_text
from embedshift.study import load


def print_card(folder: Path, out: Path | None) -> None:
    """Prints the section of a finished study, or writes it to a file."""
    text = load(folder).card()
    if out is None:
        print(printable(text, keep="\n"), end="")
        return
    write_text(out, text)
    say(f"Written: {out}")
