"""What each of two processes does in `test_comm.py`.

Run as a script, it is one of the processes that torchrun starts: `processes.py FOLDER`.
"""

import dvis_daq  # noqa: F401  makes detectron2 importable

# isort: split
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.data import build_detection_train_loader
from detectron2.data.samplers import InferenceSampler, TrainingSampler
from detectron2.utils import comm


def main(folder: str) -> None:
    """Uses everything in `comm` and writes what it saw to `FOLDER/<rank>.json`."""
    rank = comm.get_rank()
    reduced = comm.reduce_dict({"b": torch.tensor(rank + 1.0), "a": torch.tensor(10.0 * rank)})
    seen = {
        "rank": [rank, comm.get_local_rank(), comm.is_main_process()],
        "size": [comm.get_world_size(), comm.get_local_size()],
        "all_gather": comm.all_gather({"rank": rank}),
        "gather": comm.gather(rank),
        "gather_to_1": comm.gather(rank, dst=1),
        "reduced": {name: value.item() for name, value in reduced.items()} if rank == 0 else {},
        "seed": comm.shared_random_seed(),
        "inference": list(InferenceSampler(5)),
        "training": list(itertools.islice(TrainingSampler(5, seed=0), 3)),
        "share": len(next(iter(loader(4)))),
        "odd_batch": complaint(3),
    }
    comm.synchronize()
    Path(folder, f"{rank}.json").write_text(json.dumps(seen))


def loader(total_batch_size: int) -> Iterable[list[int]]:
    return build_detection_train_loader(
        list(range(5)),
        mapper=None,
        sampler=TrainingSampler(5, seed=0),
        total_batch_size=total_batch_size,
        aspect_ratio_grouping=False,
    )


def complaint(total_batch_size: int) -> str:
    try:
        loader(total_batch_size)
    except AssertionError as error:
        return str(error)
    return ""


def under_torchrun(folder: str) -> None:
    """`main` where nobody has made the groups."""
    dist.init_process_group("gloo")
    try:
        comm.get_local_rank()
    except AssertionError:
        comm.create_local_process_group(2)
        main(folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    under_torchrun(sys.argv[1])
