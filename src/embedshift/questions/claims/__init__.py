"""Do the paper's claims hold here?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("claims", Question(__name__, "Do the paper's claims hold here?", place=60, of_pairs=False))
