"""Registers crackdet's sweepers with Hydra; `crackdet.sweep` does their work."""
