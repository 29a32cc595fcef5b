"""Readers of box annotations, one format a file: COCO, YOLO, Pascal VOC, LabelMe, Supervisely.

Libraries that read these formats accept or drop many bad annotations without a word. These readers name all of them,
because a forgotten box makes a tile with a crack an example of no crack.

To add a format, write a module with `NAME` and `read`, and add it to `finding`.
"""
