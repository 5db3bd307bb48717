"""Which images moved most, typically and least?"""

from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("moved", Question(__name__, "Which images moved most, typically and least?", place=90))
