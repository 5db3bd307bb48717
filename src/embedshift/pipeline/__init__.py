"""The pipeline of one shard: draw in the loader, encode in batches, measure the questions, make rows."""
