from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("variance", Question(__name__, "How much do images differ, and how much draws of one image?", order=58))
