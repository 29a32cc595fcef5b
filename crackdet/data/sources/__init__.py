"""Data sources, one a file: each lists its images as records and reads their pixels.

To add a source, write a class that follows `base.Source` in a new file here and its test in `tests/data/sources`, add
the class to `factory.open_source`, and give its settings a dataclass in `config/schema.py` and a file in `conf/data`.
"""
