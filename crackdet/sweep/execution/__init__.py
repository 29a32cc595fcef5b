"""Executes the jobs of a sweep: in this process, in worker processes, or by one of Hydra's launchers."""
