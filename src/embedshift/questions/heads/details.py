"""Details in the report's section on heads: words for heads, tokens of the last block, and restored heads."""

from collections.abc import Sequence

from embedshift.config import Json
from embedshift.figures import FigureInput
from embedshift.questions.heads.route import agreement_of
from embedshift.report.numbers import count, fixed, in_percent, shorten

# Characters of a word that are shown.
LONGEST = 60


def place_of(layer: object, head: object) -> str:
    """Returns the name of a head."""
    return f"block {layer}, head {head}"


def words_of(data: FigureInput, rows: Sequence[Json]) -> list[Json]:
    """Returns the words of the heads that the section's rows name, if they have any: `place`, `words`, `explained`."""
    table = data.table("head_words")
    if table is None:
        return []
    named = {head["place"] for row in rows for head in row["heads"]}
    found: list[Json] = []
    for (layer, head), part in table.group_by("layer", "head", maintain_order=True):
        place = place_of(layer, head)
        if place in named:
            words = [shorten(word, LONGEST) for word in part["word"]]
            found.append({"place": place, "words": words, "explained": in_percent(part["explained"][-1])[0]})
    return found[::-1]


def tokens_of(data: FigureInput, names: Sequence[str]) -> list[Json]:
    """Returns for each augmentation how much attention to other tokens and other content carry, by `augmentation`."""
    table = data.table("head_tokens")
    if table is None:
        return []
    found: list[Json] = []
    for name in names:
        row: Json = {"augmentation": name}
        for term, contribution, low, high in table.filter(augmentation=name).drop("augmentation").iter_rows():
            said, interval = in_percent(contribution, low, high)
            row[term] = {"contribution": said, "interval": interval}
        found.append(row)
    return found


def agreement_said(data: FigureInput) -> Json | None:
    """Returns how far contributions and effects of heads agree in this study: `views`, `correlation`, `same_first`."""
    if data.table("head_effect") is None:
        return None
    found = agreement_of(data.rows, data.augmentations)
    same = in_percent(found.same_first)[0] if found.views else in_percent(None)[0]
    return {"views": count(found.views, "view"), "correlation": fixed(found.correlation, 2), "same_first": same}
