"""A study's folder: shards, study.json, the lock, and the reader that all later steps use."""
