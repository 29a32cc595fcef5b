"""Procedural synthetic images of concrete, with and without cracks.

An image is a function of (seed, index) and of the parameters of `render`: it needs no file, does not depend on the
images rendered before, and comes with the exact pixel mask of its crack. `photographs` renders whole walls.

The layout is in unit coordinates (x to the right, y downwards, 0 to 1), so an image can be rendered at any size; only
the grain is per pixel. The steps: a surface; possibly a distractor, which resembles a crack; possibly a crack; camera.
"""

from crackdet.data.synthetic.images import DISTRACTORS, GENERATOR_VERSION, SyntheticImage, label, render

__all__ = ["DISTRACTORS", "GENERATOR_VERSION", "SyntheticImage", "label", "render"]
