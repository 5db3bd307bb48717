"""The questions that a study asks of an encoder, one folder each; `embedshift.registry` describes their files."""
