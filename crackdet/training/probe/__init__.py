"""How well features tell the classes apart without fine-tuning: a linear probe, nearest neighbours and LogME."""
