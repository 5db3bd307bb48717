from embedshift.registry import QUESTIONS, Question

QUESTIONS.add("geometry", Question(__name__, "How does the set of embeddings change as a whole?", order=57))
