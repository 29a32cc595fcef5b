"""Who trains the jobs of a sweep: this process, Hydra's launchers, or workers of our own; all in one way."""
