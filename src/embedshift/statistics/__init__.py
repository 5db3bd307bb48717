"""Pure functions that several questions share: resamples, intervals, clusters, vectors, maps."""
