"""One run: a configuration and its data become weights, predictions and a result."""
