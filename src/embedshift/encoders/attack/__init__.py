"""The worst picture within a budget: pixels moved against the gradient of an encoder, and what they are held to."""
