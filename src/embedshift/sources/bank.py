"""Texts, one a line, that heads of an encoder and directions of its embeddings are described with."""

from embedshift.config.safe_files import expanded, read_text
from embedshift.errors import UsageError

MOST_BYTES, MOST_TEXTS = 2**20, 10_000


def read_bank(file: str) -> tuple[str, ...]:
    """Reads the texts of a file, each once; raises UsageError if there are fewer than two or too many."""
    lines = read_text(expanded(file), MOST_BYTES).splitlines()
    texts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if odd := next((text for text in texts if not text.isprintable()), None):
        raise UsageError(f"{file}: {odd!a} contains characters that cannot be printed")
    if not 2 <= len(texts) <= MOST_TEXTS:
        raise UsageError(f"{file} has {len(texts)} texts, one per line; it must have 2 to {MOST_TEXTS:,}")
    return texts
