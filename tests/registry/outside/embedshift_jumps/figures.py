"""The table as lines."""

from embedshift.figures import figure, has_table
from embedshift.figures.style import new_figure


@figure("jumps", section=True, is_available=has_table("jumps"))
def draw(data, title):
    """A line per augmentation over the blocks."""
    drawn = new_figure(data.caption("mean over views"), 5, 3, title)
    axes = drawn.subplots()
    for name, colour in data.colours.items():
        part = data.need("jumps").filter(augmentation=name)
        axes.plot(part["layer"], part["jump"], color=colour, label=name)
    return drawn
