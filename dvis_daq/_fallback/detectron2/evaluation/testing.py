"""How results are told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["flatten_results_dict", "print_csv_format"]


def flatten_results_dict(results: Mapping[str, Any]) -> dict[str, Any]:
    """`{"segm": {"AP": 1.0}}` becomes `{"segm/AP": 1.0}`."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            inner = flatten_results_dict(value)
            flat.update({f"{name}/{key}": item for key, item in inner.items()})
        else:
            flat[name] = value
    return flat


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Logs main metrics, those without `-` in their name, in lines to copy into a table."""
    assert isinstance(results, Mapping) or not results, results
    logger = logging.getLogger(__name__)
    for task, scores in results.items():
        if not isinstance(scores, Mapping):
            logger.info("copypaste: %s=%s", task, scores)
            continue
        main = {name: score for name, score in scores.items() if "-" not in name}
        logger.info("copypaste: Task: %s", task)
        logger.info("copypaste: %s", ",".join(main))
        logger.info("copypaste: %s", ",".join(f"{score:.4f}" for score in main.values()))
