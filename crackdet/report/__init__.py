"""A sweep or a run store as one HTML page."""
