"""The columns of a study with heads, and the names of the parts that a shift is split into."""

# Lists in the rows, in this order: [L * H], layer by layer; [L]; and of one number each.
HEADS, MLPS = "heads", "mlps"
SINGLE = {"input": "head_input", "pattern": "head_pattern", "rest": "head_rest"}
LISTS = (HEADS, MLPS, *SINGLE.values())
# What the table calls an MLP; a head is called by its number.
MLP = "mlp"
# A shift of unit embeddings that is shorter has no parts.
UNMOVED = 1e-6
