"""From image files to batches of tensors. Only `augmentation` and `batches` import torch."""
