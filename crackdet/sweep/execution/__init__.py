"""Executes the jobs of a sweep: in this process, in worker processes, or through one of Hydra's launchers.

To read in order: `backend` (interface), `executor`, `pool`, `worker`; then one file for each launcher. To support
another launcher, implement `LauncherBackend` in a new file and add it to `factory.BACKENDS`.
"""
