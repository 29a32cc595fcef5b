"""Registers crackdet's sweepers with Hydra; their work is in `crackdet.sweep`."""
