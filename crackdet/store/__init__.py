"""The run store: the identity of a run, its directory, its status and its files."""
