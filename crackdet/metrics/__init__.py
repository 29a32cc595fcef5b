"""Metrics of classifiers as pure functions: on tensors, on arrays, and their statistics."""
