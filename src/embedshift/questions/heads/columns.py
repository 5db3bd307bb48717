"""The columns of a study with heads, and the names of the parts that a shift is split into."""

# Lists in the rows: [L * H], layer by layer, and [L]; then numbers.
HEADS, MLPS = "heads", "mlps"
SINGLE = {"input": "head_input", "pattern": "head_pattern", "rest": "head_rest"}
# What the table calls an MLP; a head is called by its number.
MLP = "mlp"
