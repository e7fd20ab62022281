"""Catalogs of data sets, samplers and loaders."""

from detectron2._subset import absent_names
from detectron2.data.catalog import DatasetCatalog, Metadata, MetadataCatalog

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]

__getattr__ = absent_names(__name__)
