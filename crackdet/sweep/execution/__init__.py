"""Executes the jobs of a sweep: in this process, in worker processes, or through one of Hydra's launchers.

To support another launcher, implement `LauncherBackend` in a new file and add it to `factory.BACKENDS`.
"""
