"""From images in files to batches of tensors. Everything up to `batches` works without torch."""
