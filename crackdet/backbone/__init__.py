"""The feature extractor of a finished run, as a detector uses it: taken out of the run store, and loaded again."""
