"""What the tests of several rooms share: studies made of numbers, tiny models, independent references."""
