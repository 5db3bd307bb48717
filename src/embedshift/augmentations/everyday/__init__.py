"""The suite `everyday`: what a platform, a camera and a person do to the file of an image.

Kinds and ranges follow AugLy (Papakipos and Bitton 2022, arXiv 2201.06494), whose functions made queries of the Image
Similarity Challenge of 2021 (DISC21: Douze et al., arXiv 2106.09672), and documented limits of platforms.
"""

from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.everyday import coding, layouts, overlays, tones
from embedshift.augmentations.everyday.change import Everyday
from embedshift.augmentations.suite import DEFAULTS, SUITES

__all__ = ["CHANGES", "coding", "everyday", "layouts", "overlays", "tones"]

# Name → the change and its description, which takes the numbers' names as fields.
CHANGES: dict[str, tuple[Everyday, str]] = {
    "recompress_75": (coding.recompress(75), "Written again as JPEG of quality {quality}, chroma 4:2:0"),
    "recompress_40": (coding.recompress(40), "Written again as JPEG of quality {quality}, chroma 4:2:0"),
    "messenger": (
        coding.MESSENGER,
        "Sent by a messenger: longest side {longest} px, or half where smaller, then JPEG {quality}, chroma 4:2:0",
    ),
    "thumbnail": (coding.THUMBNAIL, "A thumbnail of {longest} px, or half the size where smaller, shown large"),
    "crop_90": (layouts.CROP, "Cut to {kept:%} of width and height at a drawn place, enlarged to the old size"),
    "screenshot": (
        layouts.SCREENSHOT,
        "A screenshot: the image inside borders of {border:%} on each side, in an interface colour ({colour})",
    ),
    "watermark": (overlays.WATERMARK, "A line of text over {area:%} of the area, {opacity:%} opaque"),
    "caption_bar": (overlays.CAPTION, "A bar with a caption over {height:%} of the height, at the {place}"),
    "brightness": (tones.BRIGHTNESS, "Brightness {change:%}"),
    "contrast": (tones.CONTRAST, "Contrast {change:%} around the mean grey"),
    "warm_cold": (tones.WARM_COLD, "A warm or cold filter: red {red:%}, and blue by as much the other way"),
    "sharpen": (tones.SHARPEN, "Sharpened: {amount} times what a blur of sigma {radius:%} of the longest side removes"),
    "rotate_3": (layouts.ROTATE, "Turned by {degrees} degrees, cropped to the largest part without border, enlarged"),
    "mirror": (layouts.MIRROR, "Mirrored left to right"),
    "greyscale": (tones.GREYSCALE, "Shades of grey (Rec. 601)"),
    "scan": (
        layouts.SCAN,
        "Printed and scanned: corners moved in by {corner_1_across:%} of the side, gamma {gamma}, paper tint {tint:%}, "
        "noise of sd {noise} of the range",
    ),
}


def everyday(choice: Choice) -> list[Augmentation]:
    """Returns sixteen changes of files, each with its numbers drawn within ranges."""
    return [
        Augmentation(name, change, version=1, extra=change.record(), description=words.format(**change.numbers))
        for name, (change, words) in CHANGES.items()
    ]


SUITES.add("everyday", everyday)
DEFAULTS["everyday"] = {"apply_to": "file", "resize": "crop"}
