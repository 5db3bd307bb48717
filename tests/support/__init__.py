"""What the tests of several rooms share: studies made of numbers, tiny models, independent references."""

# The reason of a test that needs a browser where there is none.
LEFT_OUT = "there is no Chromium: put one on the PATH, or its path into $CHROMIUM"
# Passes over test images, of an encoder that has no images of other sizes, before the first shard.
ASKED = 4
