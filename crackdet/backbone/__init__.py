"""The feature extractor of a finished run, exported for a detector and loaded again."""
