"""File names as the worst of users has them."""

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
