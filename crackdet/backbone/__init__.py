"""Export the feature extractor of a finished run for a detector, and load it again."""
