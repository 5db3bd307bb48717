"""What a figure with rows of images shows: its images, the words above them, and the names at the left."""

from matplotlib.figure import Figure


def pictures(figure: Figure) -> list[object]:
    return [image.get_array() for image in figure.axes[0].images]


def headings(figure: Figure) -> list[str]:
    return [words.get_text().replace("\n", " ") for words in figure.axes[0].texts if not words.get_rotation()]


def image_names(figure: Figure) -> list[str]:
    return [words.get_text() for words in figure.axes[0].texts if words.get_rotation()]
