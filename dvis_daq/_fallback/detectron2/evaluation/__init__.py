"""Evaluators and the loop that feeds them."""

from detectron2._subset import absent_names
from detectron2.evaluation._inference import inference_context, inference_on_dataset
from detectron2.evaluation.evaluator import DatasetEvaluator, DatasetEvaluators
from detectron2.evaluation.testing import print_csv_format

__all__ = [
    "DatasetEvaluator",
    "DatasetEvaluators",
    "inference_context",
    "inference_on_dataset",
    "print_csv_format",
]

__getattr__ = absent_names(__name__)
