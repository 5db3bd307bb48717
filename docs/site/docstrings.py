"""What Griffe is not told by the source: which section is code, and which value a default has."""

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Mends each object as it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Shows the section `Example:` as code; Griffe takes only `Examples:` for doctests."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Writes the value in the place of `DEFAULTS.name`, which says nothing to a reader."""
        from embedshift.config import StudyConfig

        for parameter in func.parameters:
            found = re.fullmatch(r"DEFAULTS\.(\w+)", str(parameter.default))
            if found:
                parameter.default = repr(getattr(StudyConfig(), found[1]))
