"""Why another stack gives another vector: the distance between two stacks, and the steps that explain it."""
