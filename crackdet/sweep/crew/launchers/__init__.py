"""Hydra's launchers, one a file: how each starts a worker. Their packages are imported when they are needed."""
