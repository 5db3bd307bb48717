"""May queries of a new encoder search the index of an old one?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = (
    "Say whether queries of a new encoder may search the index of an old one: as they are, through a map, or not."
)
COMMANDS.add("upgrade", Command(__name__, SENTENCE, order=14))
