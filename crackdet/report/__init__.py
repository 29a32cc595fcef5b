"""The runs of a sweep or a store as one HTML page."""
