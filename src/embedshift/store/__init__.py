"""A study's folder: shards, study.json, the lock, and the reader that everything after the shards goes through."""
