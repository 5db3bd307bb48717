"""Names as the worst of users has them, of files and of augmentations; and what a browser finds in a report."""

# Names as a user may have them: HTML, the end of a script, a template's braces, right-to-left marks, a long one.
NASTY = (
    "<img src=x onerror=alert(1)>.png",
    "<!--<script>alert(2)<`script>.png",
    "{{ 7*7 }} & \"quotes\" 'too'.png",
    "\u202egnp.txt.png",
    "näme ☕.png",
    "long-" + "x" * 180 + ".png",
)
CLOSING = "photos</script><script>alert(3)</script>.png"
LONG = [
    "noise", "a_very_long_augmentation_name_number_01", "blur", "brightness_contrast", "random_resized_crop_and_pad",
    "a_very_long_augmentation_name_number_02", "fog", "jpeg_compression", "zoom_blur", "perspective",
    "a_very_long_augmentation_name_number_03", "unbreakableaugmentationnamewithoutspaces", "solarize", "posterize",
    "channel_shuffle", "grid_distortion_strong", "a_very_long_augmentation_name_number_04", "rain", "gray", "_$x^2$_",
]  # fmt: skip

# In the browser: tables that do not fit into their boxes.
TOO_WIDE = """[...document.querySelectorAll("table")].map((table) => table.parentElement)
  .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.ariaLabel)"""
# The words of the first screen that are no name, description, command or number.
WORDS = """[document.querySelector("header"), document.getElementById("answer")].flatMap((part) => {
  const copy = part.cloneNode(true);
  for (const each of copy.querySelectorAll("code, bdi, .name, .all > :not(summary), button")) each.remove();
  return copy.textContent.split(/[^a-zA-Z-]+/).filter((word) => word);
})"""
