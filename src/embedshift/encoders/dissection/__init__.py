"""Which part of an encoder does what: its embedding as a sum over heads, feed-forward networks and input."""
