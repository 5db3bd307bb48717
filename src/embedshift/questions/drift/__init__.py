"""What happened to batches of other images?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = "Compare batches of new vectors with a study: which change happened to them, and to which fraction."
COMMANDS.add("drift", Command(__name__, SENTENCE, panel="Guard", order=30, methods=("drift",)))
