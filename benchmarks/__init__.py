"""Measurements of speed, memory and correctness, with the baselines that they are compared with."""
