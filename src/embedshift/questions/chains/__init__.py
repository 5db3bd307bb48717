"""What does a chain of changes do to the embedding, and which changes made a copy?"""

from embedshift.registry import COMMANDS, QUESTIONS, Command, Question

FIGURES = {"chains": ("31", "Chains of changes: measured shifts against the sums of their parts")}
QUESTIONS.add("chains", Question(__name__, "Do the shifts of changes add up in a chain?", order=46, figures=FIGURES))

SENTENCE = "Name the changes that made copies, one or several in a chain, from vectors of originals and copies."
COMMANDS.add("dissect", Command(__name__, SENTENCE, panel="Look inside", order=10, methods=("dissect", "predict")))
