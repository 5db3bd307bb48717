"""Adversarial attacks: the worst image within a budget, found by gradients of an encoder."""
