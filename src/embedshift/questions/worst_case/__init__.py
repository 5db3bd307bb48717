from embedshift.registry import QUESTIONS, Question

# The augmentations that serve as a scale for an attack, and the column of cosines to the original under them.
SUITE, NATURAL = "paper", "natural"

SENTENCE = "How far does the worst change within a budget move the embedding, and how much do purifiers undo?"

QUESTIONS.add("worst_case", Question(__name__, SENTENCE, order=17))
