from embedshift.registry import QUESTIONS, Question

# Names of the attention metrics.
PLAIN, ALIGNED = "attention_similarity", "aligned_attention_similarity"
ROLLOUT, DIVERGENCE, RISE = "rollout_similarity", "attention_divergence", "attention_entropy_rise"

FIGURES = {"attention": ("01", "Where the encoder looks"), "attention_change": ("11", "How much attention maps change")}
SENTENCE = "Does the encoder still look at the same parts of the image?"
QUESTIONS.add("attention", Question(__name__, SENTENCE, order=50, for_vectors=False, figures=FIGURES))
