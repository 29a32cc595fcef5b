"""Report runs to experiment trackers."""
