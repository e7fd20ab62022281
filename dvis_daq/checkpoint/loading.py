"""Whether weights fit a model, and loading them when they do.

A segmenter's weights start the training of a tracker, an online model's that of a refiner:
the part that learns may be missing. Everything else that does not fit is an error that
lists it, never a silent skip.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dvis_daq.checkpoint.backbones import place_backbone
from dvis_daq.checkpoint.files import CheckpointError, read_checkpoint
from dvis_daq.checkpoint.names import from_official
from dvis_daq.checkpoint.transformers_names import from_transformers, is_transformers

logger = logging.getLogger(__name__)

# Derived constants: they are rebuilt with the model, so it does not matter which side has them.
_CONSTANTS = re.compile(r".*\.(num_batches_tracked|relative_position_index|attn_mask)")

_QUERIES = "segmenter.sem_seg_head.predictor.query_feat.weight"
_CLASSES = "segmenter.sem_seg_head.predictor.class_embed.weight"


@dataclass(frozen=True)
class Signature:
    """What a set of weights is, read off names and shapes.

    Attributes:
        parts: of `segmenter`, `tracker`, `refiner`, those with weights.
        num_classes: K without background; None without a segmenter.
        num_queries: Q; None without a segmenter.
    """

    parts: tuple[str, ...]
    num_classes: int | None
    num_queries: int | None

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Signature:
        """The signature of weights with our names."""
        return cls(
            parts=tuple(dict.fromkeys(name.partition(".")[0] for name in state)),
            num_classes=state[_CLASSES].shape[0] - 1 if _CLASSES in state else None,
            num_queries=state[_QUERIES].shape[0] if _QUERIES in state else None,
        )

    def as_metadata(self) -> dict[str, str]:
        """The header of a weights file."""
        sizes = {"num_classes": self.num_classes, "num_queries": self.num_queries}
        known = {key: str(value) for key, value in sizes.items() if value is not None}
        return {"parts": ",".join(self.parts), **known}

    def __str__(self) -> str:
        sizes = [f"{self.num_classes} classes"] if self.num_classes is not None else []
        sizes += [f"{self.num_queries} queries"] if self.num_queries is not None else []
        return ", ".join([" + ".join(self.parts), *sizes])


def load_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    trains: Collection[str] = (),
    partial: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Reads a checkpoint, ours or released, into a model.

    Args:
        model: receives the weights.
        path: see `read_checkpoint`.
        trains: parts that are about to learn (`objective.trains`); these may be missing.
        partial: load what fits although something else does not (`MODEL.PARTIAL_WEIGHTS`).
        trust: see `read_checkpoint`.

    Returns:
        What else the file holds.

    Raises:
        CheckpointError: the file cannot be read, or does not fit the model.
    """
    content = read_checkpoint(path, trust=trust)
    state = content.pop("model")
    load_state(model, state, source=str(path), trains=trains, partial=partial)
    return content


def load_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    trains: Collection[str] = (),
    partial: bool = False,
) -> None:
    """`load_weights` from a mapping; `source` names it in messages."""
    own = model.state_dict()
    if is_transformers(state):
        state = from_transformers(state)
    given = place_backbone(from_official(state), own)
    fit = compare(own, given)
    _check(fit, source, Signature.of(given), Signature.of(own), trains=trains, partial=partial)
    model.load_state_dict({name: given[name] for name in fit.common}, strict=False)
    logger.info("%s: %d weights loaded (%s)", source, len(fit.common), Signature.of(given))


@dataclass(frozen=True)
class Fit:
    """How weights and a model agree, by name.

    Attributes:
        common: in both, with the same shape.
        missing: the model has them, the weights do not.
        reshaped: in both, with another shape: name, shape in the weights, shape in the model.
        extra: the weights have them, the model does not.
    """

    common: tuple[str, ...]
    missing: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    extra: tuple[str, ...]


def compare(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Fit:
    """Compares the weights of a model, `own`, with weights `given` under our names."""
    shared = [name for name in own if name in given]
    return Fit(
        common=tuple(name for name in shared if own[name].shape == given[name].shape),
        missing=tuple(n for n in own if n not in given and not _CONSTANTS.fullmatch(n)),
        reshaped=tuple(
            (name, tuple(given[name].shape), tuple(own[name].shape))
            for name in shared
            if own[name].shape != given[name].shape
        ),
        extra=tuple(n for n in given if n not in own and not _CONSTANTS.fullmatch(n)),
    )


def _check(
    fit: Fit,
    source: str,
    given: Signature,
    own: Signature,
    *,
    trains: Collection[str],
    partial: bool,
) -> None:
    """Raises CheckpointError unless what does not fit is about to be trained, or allowed."""
    if not fit.common:
        some = ", ".join(fit.extra[:3])
        raise CheckpointError(f"{source}: no weight fits this model; its names are like {some}")
    new = [name for name in fit.missing if _part(name) in trains]
    absent = [name for name in fit.missing if _part(name) not in trains]
    # A part that the model lacks altogether is no loss; layers left over within a part are.
    unused = [n for n in fit.extra if _part(n) not in own.parts or _part(n) in trains]
    surplus = [name for name in fit.extra if name not in unused]
    if new:
        logger.info("%s: starts untrained: %s", source, _summary(new, fit.common))
    if unused:
        logger.info("%s: not used: %s", source, _summary(unused, fit.common))
    problems = _problems(absent, surplus, fit)
    if problems and not partial:
        raise CheckpointError(
            f"{source} ({given}) does not fit the model ({own}): {'; '.join(problems)}. "
            f"{_advice(given, own, fit)}MODEL.PARTIAL_WEIGHTS True loads what fits all the same."
        )
    if problems:
        logger.warning("%s: loaded in part: %s", source, "; ".join(problems))


def _problems(absent: list[str], surplus: list[str], fit: Fit) -> list[str]:
    problems = []
    if absent:
        problems.append(f"missing: {_summary(absent, fit.common)}")
    if fit.reshaped:
        shown = ", ".join(f"{name} {given} for {own}" for name, given, own in fit.reshaped[:4])
        more = f" and {len(fit.reshaped) - 4} more" if len(fit.reshaped) > 4 else ""
        problems.append(f"other shape: {shown}{more}")
    if surplus:
        problems.append(f"unknown to the model: {_summary(surplus, fit.common)}")
    return problems


def _advice(given: Signature, own: Signature, fit: Fit) -> str:
    """What most likely went wrong."""
    lacking = [part for part in own.parts if part not in given.parts]
    if lacking:
        return (
            f"The file holds no {' and no '.join(lacking)}: give the weights of a model that has "
            "been trained that far, or train that stage from these. "
        )
    if given.num_classes != own.num_classes:
        return f"MODEL.SEM_SEG_HEAD.NUM_CLASSES {given.num_classes} would agree with the file. "
    if given.num_queries != own.num_queries:
        key = "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES"
        return f"{key} {given.num_queries} would agree with the file. "
    for names, value in ((fit.missing, False), (fit.extra, True)):
        if any(".reid_embed." in name for name in names):
            return f"MODEL.MASK_FORMER.REID_BRANCH {value} would agree with the file. "
    return ""


def _summary(names: Iterable[str], present: Iterable[str]) -> str:
    """Names grouped under the shortest prefix that none of `present` shares."""
    known = {prefix for name in present for prefix in _prefixes(name)}
    groups = Counter(
        next((prefix for prefix in _prefixes(name) if prefix not in known), name) for name in names
    )
    return ", ".join(f"{group} ({count})" for group, count in groups.items())


def _prefixes(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:end]) for end in range(1, len(words) + 1)]


def _part(name: str) -> str:
    return name.partition(".")[0]
