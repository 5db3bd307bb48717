from embedshift.registry import QUESTIONS, Question

SENTENCE = "Which images are at risk of not being found, and which images move?"
QUESTIONS.add("at_risk", Question(__name__, SENTENCE, order=17))
