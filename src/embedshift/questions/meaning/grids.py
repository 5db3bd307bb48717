"""The text of `explain`."""

from collections.abc import Iterator, Mapping, Sequence

from embedshift.questions.meaning.explained import HEADINGS, DirectionFinding, cells
from embedshift.study.result import Grid


def printed(found: Sequence[DirectionFinding], settings: Mapping[str, str]) -> Iterator[str | Grid]:
    """Yields what `explain` prints: a table of the directions with a property or a word, and the others by name."""
    if rows := [cells(finding) for finding in found if finding.is_found]:
        yield Grid(HEADINGS, ("text", "number", "text"), rows)
    if nothing := [finding.direction for finding in found if not finding.is_found]:
        yield f"No property and no word goes with: {', '.join(nothing)}."
    files = {name: settings.get(f"{name}_file") for name in ("properties", "words")}
    given = "".join(f", {name} of {file}" for name, file in files.items() if file)
    features = settings.get("features", "augmentations")
    yield f"Explained: {features}{given}. A star: further than images along random directions."
    yield "Every row: `--json`. What each number means: `embedshift docs meaning`."
