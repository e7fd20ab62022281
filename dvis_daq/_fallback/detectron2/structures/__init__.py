"""A batch of images of different sizes."""

from detectron2._subset import absent_names
from detectron2.structures.image_list import ImageList

__all__ = ["ImageList"]

__getattr__ = absent_names(__name__)
