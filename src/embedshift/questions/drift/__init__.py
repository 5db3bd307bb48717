"""What happened to batches of other images?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = "Say what happened to batches of other images, from their vectors: which change, to which fraction of them."
COMMANDS.add("drift", Command(__name__, SENTENCE, panel="Guard", order=30, methods=("drift",)))
