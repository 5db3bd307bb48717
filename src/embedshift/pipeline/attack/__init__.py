"""An attack on a set of images: each is read, attacked by itself, and stored with its variants beside attack.json."""
