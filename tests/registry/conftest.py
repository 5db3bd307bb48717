"""The package in `outside/` is installed by its tests; nothing else may import it."""

collect_ignore = ["outside"]
