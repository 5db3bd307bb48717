"""The declaration of a command that a folder of `questions` brings. It is listed without being loaded."""

from dataclasses import dataclass
from types import ModuleType

from embedshift.registry.names import Registry
from embedshift.registry.questions import find_questions, part_of

# The panels of `embedshift --help`, in their order.
PANELS = ("Start", "Decide", "Guard", "Bring your own", "Look inside", "Files and help")


@dataclass(frozen=True)
class Command:
    """A command, whose folder has a `command.py` with `Options` and `command`.

    `Options` is a frozen dataclass; the command line makes an option of each field that is a `setting` or an
    `argument`. `command` takes an instance of it and returns an `embedshift.study.result.Output`.

    Args:
        package: The import name of its folder: `__name__` of its `__init__.py`.
        sentence: Its line of `embedshift --help`.
        panel: One of `PANELS`, or a panel of its own.
        order: Its position in the panel, in the order of work; commands of the core are at 20.
        methods: Functions of its `result.py` that are also methods of `Study`.
    """

    package: str
    sentence: str
    panel: str = "Decide"
    order: int = 20
    methods: tuple[str, ...] = ()

    def part(self, name: str) -> ModuleType:
        """Imports one of its files.

        Args:
            name: The file's name without ".py".

        Raises:
            UsageError: It is not there, or the file of another package cannot be imported.
        """
        module: ModuleType = part_of(self.package, name, needed=True)
        return module


COMMANDS: Registry[Command] = Registry("command", find_questions)
