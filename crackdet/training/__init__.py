"""Training: one loop, its state, its device and its memory."""
