from embedshift.registry import QUESTIONS, Question

SENTENCE = "How much does an augmentation change the pixels?"
QUESTIONS.add("pixels", Question(__name__, SENTENCE, order=52, for_vectors=False))
