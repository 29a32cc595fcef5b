"""How fast crackdet is, as ratios measured side by side: `python -m benchmarks`, or `make bench`."""
