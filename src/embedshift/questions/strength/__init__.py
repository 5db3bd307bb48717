"""At which strength does the embedding give way?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("strength", Question(__name__, "At which strength of a change does the embedding give way?", place=15))
