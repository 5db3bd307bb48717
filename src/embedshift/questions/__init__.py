"""What a study asks of an encoder: one folder a question; `embedshift.registry` says what is in it."""
