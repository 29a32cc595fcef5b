"""Classification metrics as pure functions: on tensors, on arrays, and their statistics."""
