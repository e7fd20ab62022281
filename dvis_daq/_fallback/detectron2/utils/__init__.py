"""Small helpers: processes, events, logging, randomness, files, registries."""

from detectron2._subset import absent_names

__getattr__ = absent_names(__name__)
