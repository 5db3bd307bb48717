"""May this study's encoder go into production?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = "Check a study against rules; exit with code 3 if one is broken or worse. A gate for continuous integration."
COMMANDS.add("check", Command(__name__, SENTENCE, panel="Guard", order=10))
