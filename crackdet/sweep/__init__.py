"""Many runs: the grid, the search, and the execution of their jobs."""
