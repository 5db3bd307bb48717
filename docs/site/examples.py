"""Shows the section `Example:` of a docstring as code; Griffe takes only `Examples:` for doctests."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Renames the section as a docstring is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^(\s*)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
