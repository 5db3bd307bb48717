"""Splits an embedding into contributions of heads, feed-forward networks and input."""
