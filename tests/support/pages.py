"""The pages that a reader reads: their code blocks, links and anchors."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run:(.*?)-->\s*\Z", re.DOTALL)
# Code is run. Data is only read, and text is neither.
PYTHON, SHELL = ("python",), ("sh", "bash", "console")
DATA, TEXT = ("yaml", "toml", "json", "dockerfile"), ("text", "mermaid", "markdown")
LINK = re.compile(r"\]\((?P<inline>[^)\s]+)\)|^\[[^\]]+\]: +(?P<below>\S+)$|<(?P<bare>https?://[^>\s]+)>", re.MULTILINE)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Args:
        line: Where it begins, from 1.
        language: As the fence says; "sh" also where it says nothing and the block calls `embedshift`.
        text: What stands in it.
        reason: Why it is not run, by the comment right before it; None = there is no such comment.
    """

    line: int
    language: str
    text: str
    reason: str | None

    @property
    def is_code(self) -> bool:
        return self.language in (*PYTHON, *SHELL)


def blocks(page: str) -> Iterator[Block]:
    """The code blocks of a page's text, in order.

    Example:
        >>> page = "<!-- not run: slow -->\\n```\\nembedshift run a\\n```\\n"
        >>> [(block.language, block.reason) for block in blocks(page)]
        [('sh', 'slow')]
    """
    for found in FENCE.finditer(page):
        text = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        language = found["language"] or ("sh" if re.search(r"^embedshift ", text, re.MULTILINE) else "text")
        marker = NOT_RUN.search(page[: found.start()])
        yield Block(page[: found.start()].count("\n") + 1, language, text, marker[1].strip() if marker else None)


def prose(page: str) -> str:
    """A page's text without code, whose brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page))


def links(page: str) -> list[str]:
    """Targets of all links and images of a page's text.

    Example:
        >>> links("[a](b.md#c), `[x](y)`, ![d](e.png) and <https://f.org>")
        ['b.md#c', 'e.png', 'https://f.org']
    """
    return [next(filter(None, found.groups())) for found in LINK.finditer(prose(page))]


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub and the site make them.

    Example:
        >>> sorted(anchors("# One, two: `--three four`?\\n## 1. Five"))
        ['1-five', 'one-two---three-four']
    """
    heads = re.findall(r"^#+ +(.+)$", FENCE.sub("", page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head).strip().lower() for head in heads]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in plain}


def commands(text: str) -> list[str]:
    r"""The lines of shell commands; `\` joins lines, and comments go."""
    joined = text.replace("\\\n", " ")
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line]
