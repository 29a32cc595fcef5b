"""Many runs: what Hydra asks of a job, the grid, the record of a sweep."""
