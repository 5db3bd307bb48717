"""Pure functions that several questions need: resamples, intervals, clusters, vectors, maps."""
