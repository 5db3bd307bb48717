"""Names of the attention metrics."""

PLAIN, ALIGNED = "attention_similarity", "aligned_attention_similarity"
ROLLOUT, DIVERGENCE, RISE = "rollout_similarity", "attention_divergence", "attention_entropy_rise"
