"""Details in the report's section on heads: words for heads, and tokens of the last block."""

from collections.abc import Sequence

from embedshift.config import Json
from embedshift.figures import FigureInput
from embedshift.report.numbers import in_percent, shorten

# Characters of a word that are shown.
LONGEST = 60


def head_name(layer: object, head: object) -> str:
    return f"block {layer}, head {head}"


def words_of(data: FigureInput, rows: Sequence[Json]) -> list[Json]:
    """Returns the words of the heads that the section's rows name, if they have any: `name`, `words`, `explained`."""
    table = data.table("head_words")
    if table is None:
        return []
    named = {head["name"] for row in rows for head in row["heads"]}
    described: list[Json] = []
    for (layer, head), part in table.group_by("layer", "head", maintain_order=True):
        name = head_name(layer, head)
        if name in named:
            words = [shorten(word, LONGEST) for word in part["word"]]
            described.append({"name": name, "words": words, "explained": in_percent(part["explained"][-1])[0]})
    return described[::-1]


def tokens_of(data: FigureInput, names: Sequence[str]) -> list[Json]:
    """Returns for each augmentation how much attention to other tokens and other content carry, by `augmentation`."""
    table = data.table("head_tokens")
    if table is None:
        return []
    rows: list[Json] = []
    for name in names:
        row: Json = {"augmentation": name}
        for term, contribution, low, high in table.filter(augmentation=name).drop("augmentation").iter_rows():
            text, interval = in_percent(contribution, low, high)
            row[term] = {"contribution": text, "interval": interval}
        rows.append(row)
    return rows
