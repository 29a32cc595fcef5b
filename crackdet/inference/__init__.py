"""Finished runs at work on images: loaded, judged, applied."""
