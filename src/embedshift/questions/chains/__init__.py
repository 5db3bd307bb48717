"""Which changes, one after the other, made a copy?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = "Say which changes made copies, from the vectors of originals and copies: one change, or several in a chain."
COMMANDS.add("dissect", Command(__name__, SENTENCE, panel="Guard", method="dissect"))
