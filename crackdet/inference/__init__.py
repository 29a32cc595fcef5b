"""Finished runs applied to images."""
