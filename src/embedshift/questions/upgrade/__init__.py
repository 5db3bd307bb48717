"""May queries of a new encoder search the index of an old one?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = "Test whether queries of a new encoder can search the index of an old one, directly or through a map."
COMMANDS.add("upgrade", Command(__name__, SENTENCE, order=14))
