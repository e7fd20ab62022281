"""AdamW with its parameter groups, the learning rate over time, and gradient clipping."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator

import torch
from detectron2.config import CfgNode
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
)
from torch import Tensor, nn

from dvis_daq.config import ConfigError

logger = logging.getLogger(__name__)

_NORMS = (
    nn.modules.batchnorm._NormBase,  # batch, synchronised batch and instance normalisation
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
_HOLD = 0.7  # share of the training with the full rate, in WarmupConstantLinear


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient.

    Norm layers and embeddings have their own weight decay (0 in the release), the backbone
    its own learning rate; what belongs together is one group.

    Raises:
        ConfigError: no parameter requires a gradient.
    """
    solver = cfg.SOLVER
    base = scaled_rate(cfg)
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, module, parameter in _trained(model):
        in_backbone = "backbone" in name.split(".")
        rate = base * (solver.BACKBONE_MULTIPLIER if in_backbone else 1.0)
        decay = solver.WEIGHT_DECAY
        if isinstance(module, _NORMS):
            decay = solver.WEIGHT_DECAY_NORM
        elif isinstance(module, nn.Embedding):
            decay = solver.WEIGHT_DECAY_EMBED
        elif name.endswith(".bias") and solver.WEIGHT_DECAY_BIAS is not None:
            decay = solver.WEIGHT_DECAY_BIAS
        groups[rate, decay].append(parameter)
    if not groups:
        raise ConfigError("nothing to train: no parameter of the model requires a gradient")
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,  # one kernel instead of a loop over parameters
    )


def scaled_rate(cfg: CfgNode) -> float:
    """`SOLVER.BASE_LR` for the number of clips in a step, see `SOLVER.LR_SCALING`."""
    solver = cfg.SOLVER
    ratio = solver.IMS_PER_BATCH * solver.ACCUMULATION / solver.REFERENCE_BATCH
    power = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[solver.LR_SCALING]
    return solver.BASE_LR * ratio**power


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """(name, module that owns it, parameter), each parameter once."""
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield name, module, parameter


def build_lr_scheduler(cfg: CfgNode) -> ParamScheduler:
    """The learning rate over time, as a factor.

    `SOLVER.LR_SCHEDULER_NAME`:

    - `WarmupMultiStepLR`: times GAMMA at each of STEPS (released);
    - `WarmupConstantLinear`: the full rate for 70 % of the training, then linear to GAMMA;
    - `WarmupCosineLR`: half a cosine to zero.

    The first WARMUP_ITERS iterations climb (`linear`) or wait (`constant`) at WARMUP_FACTOR.

    Returns:
        A function of the share of the training that is done, 0 <= x < 1. It has no state, so a
        resumed run, also one with another MAX_ITER, needs nothing but the iteration.

    Raises:
        ConfigError: unknown name.
    """
    solver = cfg.SOLVER
    name = solver.LR_SCHEDULER_NAME
    if name == "WarmupMultiStepLR":
        main = _multi_step(solver)
    elif name == "WarmupConstantLinear":
        main = CompositeParamScheduler(
            [ConstantParamScheduler(1.0), LinearParamScheduler(1.0, solver.GAMMA)],
            lengths=[_HOLD, 1 - _HOLD],
            interval_scaling=["rescaled", "rescaled"],
        )
    elif name == "WarmupCosineLR":
        main = CosineParamScheduler(1.0, 0.0)
    else:
        raise ConfigError(
            f"SOLVER.LR_SCHEDULER_NAME is {name!r}; choose one of WarmupMultiStepLR, "
            "WarmupConstantLinear, WarmupCosineLR"
        )
    return _with_warmup(main, solver)


def _multi_step(solver: CfgNode) -> ParamScheduler:
    steps = [step for step in solver.STEPS if step < solver.MAX_ITER]
    if len(steps) < len(solver.STEPS):
        logger.warning("SOLVER.STEPS beyond MAX_ITER %d are ignored", solver.MAX_ITER)
    if not steps:
        return ConstantParamScheduler(1.0)
    values = [solver.GAMMA**step for step in range(len(steps) + 1)]
    return MultiStepParamScheduler(values, num_updates=solver.MAX_ITER, milestones=steps)


def _with_warmup(main: ParamScheduler, solver: CfgNode) -> ParamScheduler:
    share = solver.WARMUP_ITERS / solver.MAX_ITER
    if share <= 0:
        return main
    begin = solver.WARMUP_FACTOR
    if solver.WARMUP_METHOD == "constant":
        warmup = ConstantParamScheduler(begin)
    elif solver.WARMUP_METHOD != "linear":
        raise ConfigError(f"SOLVER.WARMUP_METHOD is {solver.WARMUP_METHOD!r}; linear or constant")
    elif share < 1:
        warmup = LinearParamScheduler(begin, main(share))
    else:  # the training ends before the warm-up does
        warmup = LinearParamScheduler(begin, begin + (1 - begin) / share)
    if share >= 1:
        return warmup
    return CompositeParamScheduler(
        [warmup, main], lengths=[share, 1 - share], interval_scaling=["rescaled", "fixed"]
    )


def clip_gradients(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Tensor:
    """Clips as `SOLVER.CLIP_GRADIENTS` says.

    `full_model`: the norm of all gradients together (released); `norm`: that of each
    parameter; `value`: each entry.

    Returns:
        Scalar, the norm of all gradients before clipping.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    settings = cfg.SOLVER.CLIP_GRADIENTS
    kind = settings.CLIP_TYPE if settings.ENABLED else "none"
    limit = settings.CLIP_VALUE if kind == "full_model" else math.inf
    total = nn.utils.clip_grad_norm_(parameters, limit, norm_type=settings.NORM_TYPE)
    if kind == "norm":
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, settings.CLIP_VALUE, settings.NORM_TYPE)
    elif kind == "value":
        nn.utils.clip_grad_value_(parameters, settings.CLIP_VALUE)
    return total
