"""`python -m tests.parity.golden FOLDER [NAME ...] [--float32]`"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from tests.parity.golden.cases import load_cases
from tests.parity.golden.run import PRODUCERS, verdicts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds golden/, configs/ and golden_weights.py")
    parser.add_argument("names", nargs="*", help="cases to run; default: all that we produce")
    parser.add_argument("--float32", action="store_true", help="default: float64")
    args = parser.parse_args()
    dtype = torch.float32 if args.float32 else torch.float64
    try:
        cases = load_cases(args.folder)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    unknown = set(args.names) - {case.name for case in cases}
    if unknown:
        print(f"no such case in {args.folder}: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    wanted = [case for case in cases if not args.names or case.name in args.names]
    arrays = misses = 0
    for case in wanted:
        if case.name not in PRODUCERS:
            print(f"{case.name}: no producer, skipped")
            continue
        start = time.perf_counter()
        rows = verdicts(case, dtype)
        print(f"{case.name} ({time.perf_counter() - start:.1f} s)")
        for row in rows:
            print(f"  {row.array:<42} {row.difference:>28}  {'ok' if row.ok else 'MISS'}")
        arrays += len(rows)
        misses += sum(not row.ok for row in rows)
    print(f"{arrays - misses} of {arrays} arrays within tolerance")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
