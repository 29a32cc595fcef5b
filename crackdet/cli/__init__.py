"""The command line: `crackdet` and `train.py`."""
