"""The pipeline of one shard: the loader draws, the encoder encodes in batches, the questions measure, rows result."""
