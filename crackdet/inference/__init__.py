"""Apply finished runs to images: prediction, evaluation and scanning."""
