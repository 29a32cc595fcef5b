"""Readers of box annotations, one format a file: COCO, YOLO, Pascal VOC, LabelMe, Supervisely.

Libraries that read these formats drop a bad annotation without a word or stop at the first. These readers name all of
them, because a forgotten box makes a tile with a crack an example of no crack.

To add a format, write a module with `NAME` and `read`, and add it to `finding`.
"""
