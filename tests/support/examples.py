"""Text with gaps."""

import re


def fits(pattern: str, text: str) -> bool:
    """Whether a text is the pattern, whose `...` stand for anything and whose blanks for any white space."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in pattern.split("..."))
    return re.fullmatch(r"\s*.*?\s*".join(parts), text.strip(), re.DOTALL) is not None
