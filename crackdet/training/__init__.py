"""Training: the loop, its state, its device and its memory."""
