"""The table of commands: what the revision before is asked, and the same question to the revision after."""

from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("commands.txt")
GONE = "gone"


@dataclass(frozen=True)
class Command:
    """A line of the table; `new` is None where the revision after is not asked."""

    old: str
    new: str | None


def commands(only: str = "") -> list[Command]:
    """The lines whose old words contain `only`."""
    lines = [line.strip() for line in FILE.read_text().splitlines()]
    found = [parsed(line) for line in lines if line and not line.startswith("#")]
    return [command for command in found if only in command.old]


def parsed(line: str) -> Command:
    """A line of the table.

    Example:
        >>> parsed("lock photos  ->  parity --lock photos"), parsed("card photos  ->  gone")
        (Command(old='lock photos', new='parity --lock photos'), Command(old='card photos', new=None))
    """
    old, arrow, new = (part.strip() for part in line.partition("  ->  "))
    return Command(old, (None if new == GONE else new) if arrow else old)
