"""A study's folder: shards, study.json, the lock, and the reader for all later steps."""
