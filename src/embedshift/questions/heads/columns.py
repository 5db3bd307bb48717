"""The columns of a study with heads, and the names of the parts into which a shift is split."""

# Lists in the rows: [L * H], layer by layer, and [L]; then numbers.
HEADS, MLPS = "heads", "mlps"
SINGLE = {"input": "head_input", "pattern": "head_pattern", "rest": "head_rest"}
# What the table calls an MLP; a head is called by its number.
MLP = "mlp"
# With `heads_tokens`, by term: lists [1 + cells], class and register tokens together, then patch by patch.
TOKENS = {"pattern": "tokens_pattern", "values": "tokens_values"}
