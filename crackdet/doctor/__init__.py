"""Checks of a data set before it is trained on: copies, labels, confounds and drift.

The checks need the extra `doctor`: OpenCV, faiss, scikit-learn and cleanlab.
"""
