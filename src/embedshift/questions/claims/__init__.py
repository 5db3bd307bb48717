"""Do the paper's claims hold for this encoder?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("claims", Question(__name__, "Do the paper's claims hold for this encoder?", order=60, for_pairs=False))
