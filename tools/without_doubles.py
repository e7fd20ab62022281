#!/usr/bin/env python
"""Leaves second tracks of one object out of a results.json, to see what they cost.

A track goes if it shares more than OVERLAP of the pixels of the smaller one, over the whole video,
with a better one of its class. A diagnosis, no part of any method (docs/ablations.md).

Example:
  python tools/without_doubles.py --output out.json \\
      --results output/synthetic_daq_online/inference/synthetic_val/results.json
  python tools/eval.py --task vis --gt output/synthetic/val.json --results out.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from dvis_daq.evaluation.doubles import without_doubles
from dvis_daq.evaluation.report import write_json


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, metavar="JSON")
    parser.add_argument("--output", type=Path, required=True, metavar="JSON")
    parser.add_argument(
        "--overlap", type=float, default=0.7, metavar="SHARE", help="0..1, default: %(default)s"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.overlap <= 1:
        parser.error("--overlap must be between 0 and 1")
    try:
        results = json.loads(options.results.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise SystemExit(f"error: {options.results}: {error}") from None
    kept = without_doubles(results, options.overlap)
    write_json(kept, options.output)
    print(f"{len(kept)} of {len(results)} tracks kept: {options.output}")


if __name__ == "__main__":
    main()
