"""One shard: drawn by the loader, encoded in batches, measured by the questions, written as records."""
