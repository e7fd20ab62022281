"""Catalogs of data sets, samplers and loaders."""

from detectron2._subset import absent_names
from detectron2.data.build import (
    build_batch_data_loader,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.data.catalog import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.data.common import DatasetFromList, MapDataset

__all__ = [
    "DatasetCatalog",
    "DatasetFromList",
    "MapDataset",
    "Metadata",
    "MetadataCatalog",
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
]

__getattr__ = absent_names(__name__)
