"""What `embedshift card` prints or writes: a section of Markdown for a model card."""

from pathlib import Path

from embedshift.cli.words import printable, say
from embedshift.errors import UsageError
from embedshift.study import load


def print_card(folder: Path, out: Path | None) -> None:
    """Prints the section of a finished study, or writes it to a file."""
    text = load(folder).card()
    if out is None:
        print(printable(text, keep="\n"), end="")
        return
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; name a file")
    out.write_text(text, encoding="utf-8")
    say(f"Written: {out}")
