"""What a finished run has learned: its feature maps, and where it looks. Nothing here is imported but when asked."""
