"""What the tests of several rooms relative shift: studies made of numbers, tiny models, independent references."""
