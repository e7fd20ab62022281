"""Evaluators and the loop that feeds them."""

from detectron2._subset import absent_names
from detectron2.evaluation.evaluator import (
    DatasetEvaluator,
    DatasetEvaluators,
    flatten_results_dict,
    print_csv_format,
)
from detectron2.evaluation.inference import inference_context, inference_on_dataset

__all__ = [
    "DatasetEvaluator",
    "DatasetEvaluators",
    "flatten_results_dict",
    "inference_context",
    "inference_on_dataset",
    "print_csv_format",
]

__getattr__ = absent_names(__name__)
