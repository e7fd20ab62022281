#!/usr/bin/env python
"""Renames the weights of a checkpoint: released names to ours, or back.

Reads .pth, .pt, .pkl and .safetensors without executing anything that the file contains; also
the Mask2Former checkpoints of the transformers library.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a plain checkout

from dvis_daq.checkpoint import (
    Signature,
    from_official,
    from_transformers,
    is_transformers,
    read_checkpoint,
    to_official,
    write_weights,
)
from dvis_daq.program_errors import one_line_errors

EXAMPLES = """
examples:
  python tools/convert_checkpoint.py released.pth weights.safetensors --to ours
  python tools/convert_checkpoint.py output/model_final.pth for_the_old_code.pth --to official
"""


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", metavar="INPUT", help=".pth, .pt, .pkl or .safetensors")
    parser.add_argument("output", metavar="OUTPUT", help=".safetensors or .pth")
    parser.add_argument(
        "--to",
        choices=("ours", "official"),
        required=True,
        help="the names in OUTPUT: of this package, or of the released code",
    )
    parser.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="execute whatever INPUT holds: only for files of a source that you trust",
    )
    return parser.parse_args(argv)


def convert(source: str, target: str, to: str, *, trust: bool = False) -> str:
    """Converts one file; returns a sentence that says what was written."""
    content = read_checkpoint(source, trust=trust)
    weights = content["model"]
    if is_transformers(weights):
        weights = from_transformers(weights)
    state = from_official(weights)
    signature = Signature.of(state)
    kept = content.get("metadata")
    kept = kept if isinstance(kept, dict) else {}
    metadata = {**{k: str(v) for k, v in kept.items()}, **signature.as_metadata(), "names": to}
    write_weights(target, to_official(state) if to == "official" else state, metadata)
    return f"{target}: {len(state)} weights ({signature}) with {to} names"


def main(argv: Sequence[str]) -> None:
    args = parse_args(argv)
    with one_line_errors():
        print(convert(args.input, args.output, args.to, trust=args.trust_checkpoint))


if __name__ == "__main__":
    main(sys.argv[1:])
