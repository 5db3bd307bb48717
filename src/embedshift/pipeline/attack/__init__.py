"""An attack on a set of images: each is read, attacked alone, and stored with its variants beside attack.json."""
