"""Experiment trackers: runs sent to TensorBoard and MLflow."""
