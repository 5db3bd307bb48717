"""Figure 29: a row a direction, and how far properties and words go with it."""

import numpy as np
from matplotlib.figure import Figure

from embedshift.figures.base import FigureInput, figure, has_table
from embedshift.figures.shared import cells, colour_bar
from embedshift.figures.style import contrast, human, new_figure, verbatim
from embedshift.questions.meaning.explained import findings, signed

# Directions and words that are shown, and inches of a column and of a row.
ROWS, WORDS, ACROSS, DOWN = 40, 8, 0.62, 0.3


@figure("meaning", section=True, is_available=has_table("meaning"))
def meaning(data: FigureInput, title: str) -> Figure:
    found = findings(data.need("meaning"))[:ROWS]
    clear = [row["name"] for finding in found for row in finding.words if row["significant"]]
    properties = [*dict.fromkeys(row["name"] for finding in found for row in finding.properties)]
    words = [*dict.fromkeys(clear)][:WORDS]
    columns = [("property", name) for name in sorted(properties)] + [("word", name) for name in words]
    values = np.full((len(found), max(1, len(columns))), np.nan)
    beyond = np.zeros(values.shape, bool)
    for line, finding in enumerate(found):
        for row in (*finding.properties, *finding.words):
            if (key := (row["kind"], row["name"])) in columns:
                place = line, columns.index(key)
                values[place] = row["value"] if row["kind"] == "property" else 2 * row["value"] - 1
                beyond[place] = row["significant"]
    notes = ["with a number: beyond 95 % of random directions", "property: Spearman's ρ; “word”: 2 AUC − 1"]
    names = [human(name) if kind == "property" else f"“{verbatim(name, 16)}”" for kind, name in columns] or ["none"]
    width, height = 2.2 + ACROSS * len(names), 1.5 + DOWN * len(found)
    drawn = new_figure(data.caption(*notes), max(6.0, width), height, title)
    axes, end = drawn.subplots(), float(np.nanmax(np.abs(values), initial=0.3))
    mesh = cells(
        axes, values, [verbatim(f.direction, 28) for f in found], names, ACROSS, cmap="RdBu_r", vmin=-end, vmax=end
    )
    faces = np.asarray(mesh.get_facecolor()).reshape(*values.shape, 4)
    for line, column in np.argwhere(beyond):
        colour = max("black", "white", key=lambda ink: contrast(ink, faces[line, column]))
        axes.text(
            column + 0.5, line + 0.5, signed(values[line, column]), ha="center", va="center", color=colour, fontsize=7
        )
    colour_bar(drawn, mesh, axes, "goes with the direction")
    return drawn
