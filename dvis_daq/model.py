"""The one nn.Module that Detectron2 sees: a segmenter, a tracker, perhaps a refiner.

What a method is, is said in `recipes/`; here is only what they share: the loop over a
video, the freezing of what does not learn, and the two answers of `forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from dvis_daq.checkpoint import register_official_names
from dvis_daq.layers import at_least_float32, inference_autocast
from dvis_daq.refiner import SequenceBank, SequenceRules, TemporalRefiner
from dvis_daq.segmenter import Segmenter
from dvis_daq.structures import FrameOutputs, FrameSizes, VideoPrediction, foreground_score
from dvis_daq.tasks.trace import frame_trace
from dvis_daq.tracker.bank import TrackBank
from dvis_daq.tracker.loop import LifeRule, TrackedFrame, track
from dvis_daq.tracker.pooling import BestScores
from dvis_daq.tracker.state import TrackState
from dvis_daq.training.cache import SegmentedFrames
from dvis_daq.training.objectives import Clip, Objective

Video = Mapping[str, Any]


class PieceCollector(Protocol):
    """Takes a video piece by piece and gives its result at the end (`InstancesInPieces`)."""

    def __len__(self) -> int: ...

    def add(self, piece: VideoPrediction) -> None: ...

    def result(self) -> Any: ...


TaskHead = Callable[..., dict[str, Any]]  # of VideoPrediction and FrameSizes
MakeResult = Callable[[], dict[str, Any]]


class RefinedTracks(NamedTuple):
    """What the refiner says of N tracks over T frames."""

    ids: Tensor  # (N,) int64
    queries: Tensor  # (1, T, N, C)
    logits: Tensor  # (N, K + 1)
    scores: Tensor | None  # (N, K + 1), as in `VideoPrediction`

    def rows(self, rows: Tensor) -> RefinedTracks:
        """The tracks `rows`, an index (M,)."""
        scores = None if self.scores is None else self.scores[rows]
        return RefinedTracks(self.ids[rows], self.queries[:, :, rows], self.logits[rows], scores)


class VideoModel(nn.Module):
    """Segments and tracks the objects of a video.

    Args:
        segmenter: images -> `FrameOutputs`.
        tracker: has `start()` and `step(state, frame)`.
        lifecycle: accepts or rejects the rows of a step.
        task: turns a `VideoPrediction` into what is delivered (`tasks/`); it works on the
            device that it is told.
        refiner: polishes whole tracks once a video is over; None for an online model.
        sequences: how tracks become what the refiner reads; with a refiner.
        fuse_scores: class scores (N, K + 1) from refined and online logits; None for the
            softmax of the refined ones.
        objective: the losses; names in `trains` the parts that learn, the others are frozen.
        cache: keeps what the frozen segmenter said of training frames; None computes it anew.
        window: frames that pass the segmenter at once, at inference; a multiple of `clip`.
        clip: frames that the tracker sees at once, at inference; the last ones of a video may
            be fewer.
        scores: begins what pools the scores of a track's frames, see `TrackBank`.
        precision: of the segmenter at inference; what decides over tracks stays in float32.
        in_pieces: collects the results of an online video whose masks exceed the budget; None
            where the task wants the whole video at once.
        mask_budget: bytes of stride-4 masks that wait for the end of a video.
        mask_dtype: of the masks stored for a video; None keeps that of the network.
        keep_features: with a refiner, keep mask features of a whole video on the host instead
            of running the segmenter a second time.
        show_unseen: an online track shows its mask, too, in frames in which it was not accepted
            but within its patience (as released).
        prompted: the task is also given the objects of the first frame (`tasks/vos.py`).
        trace: results say what was proposed and decided in every frame (`tasks/trace.py`).
    """

    def __init__(
        self,
        *,
        segmenter: Segmenter,
        tracker: nn.Module,
        lifecycle: LifeRule,
        task: TaskHead,
        objective: Objective,
        refiner: TemporalRefiner | None = None,
        sequences: SequenceRules | None = None,
        fuse_scores: Callable[[Tensor, Tensor], Tensor] | None = None,
        cache: SegmentedFrames | None = None,
        window: int = 5,
        clip: int = 1,
        scores: Callable[[Tensor, Tensor], BestScores] | None = None,
        precision: torch.dtype = torch.float32,
        in_pieces: Callable[[FrameSizes], PieceCollector] | None = None,
        mask_budget: int = 2**28,
        mask_dtype: torch.dtype | None = torch.float16,
        keep_features: bool = False,
        show_unseen: bool = True,
        prompted: bool = False,
        trace: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.tracker = tracker
        self.refiner = refiner
        self.sequences = sequences
        self.fuse_scores = fuse_scores
        self.cache = cache
        self.lifecycle = lifecycle
        self.task = task
        self.objective = objective
        if window % clip:
            raise ValueError(f"a window of {window} frames cannot be cut into clips of {clip}")
        self.window = window
        self.clip = clip
        self.scores = scores
        self.precision = precision
        self.in_pieces = in_pieces
        self.mask_budget = mask_budget
        self.mask_dtype = mask_dtype
        self.keep_features = keep_features
        self.show_unseen = show_unseen
        self.prompted = prompted
        self.trace = trace
        for part in self._frozen():
            part.requires_grad_(False)
        register_official_names(self)

    @property
    def device(self) -> torch.device:
        return self.segmenter.pixel_mean.device

    def train(self, mode: bool = True) -> VideoModel:
        """Frozen parts stay in evaluation mode (no dropout, fixed statistics)."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def forward(self, videos: Sequence[Video]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """The weighted losses of some clips, or the results of some videos.

        Args:
            videos: as `data.ClipMapper` makes them: "images" (T, 3, H, W) uint8 RGB and, in
                training, "targets" (`ClipTargets`); "height" and "width" of the original.

        Returns:
            In training a loss by name; the iteration, which sets the stage of the simulation,
            is Detectron2's event storage's, the one clock that is saved and restored. At
            inference one result a video.
        """
        if self.training:
            clips = [self._clip(video) for video in videos]
            return self.objective(self, clips, get_event_storage().iter)
        return [self.run(video)() for video in videos]

    @torch.no_grad()
    def frames(self, images: Tensor, state: TrackState | None = None) -> Iterator[TrackedFrame]:
        """Segments and tracks, one frame (or clip) at a time.

        Args:
            images: (T, 3, H, W) RGB 0..255, or anything that slices to that.
            state: where an earlier piece of the video ended; None starts a video.
        """
        yield from track(self.tracker, self.lifecycle, self.segmented(images), state)

    def segmented(self, images: Tensor) -> Iterator[FrameOutputs]:
        """What the segmenter says of each clip of frames, in float32 at least."""
        for start in range(0, len(images), self.window):
            with inference_autocast(self.device, self.precision):
                piece = self.segmenter(images[start : start + self.window])
            piece = piece.at_least_float32()
            yield from (piece[t : t + self.clip] for t in range(0, len(piece), self.clip))

    def mask_features(self, images: Tensor) -> Tensor:
        """(T, D, h, w) mask features of images (T, 3, H, W), in float32 at least."""
        with inference_autocast(self.device, self.precision):
            return at_least_float32(self.segmenter.mask_features(images))

    def predict(
        self, images: Tensor, watch: Callable[[TrackedFrame], None] | None = None
    ) -> VideoPrediction:
        """All tracks of a whole video; its masks are kept on the host at stride 4.

        Args:
            images: as in `frames`.
            watch: is shown every frame when it is done.
        """
        frames = self.frames(images)
        if watch is not None:
            frames = _shown(frames, watch)
        if self.refiner is not None:
            return self._predict_offline(images, frames)
        bank = self.bank()
        for done in frames:
            bank.add(done.state, done.step, done.rows, done.seen)
        return bank.drain()

    def _in_pieces(self, frames: Iterator[TrackedFrame], sizes: FrameSizes) -> MakeResult:
        """`run` of an online video; masks beyond the budget leave memory as run lengths."""
        assert self.in_pieces is not None
        bank, pieces = self.bank(), self.in_pieces(sizes)
        for done in frames:
            bank.add(done.state, done.step, done.rows, done.seen)
            if bank.nbytes > self.mask_budget:
                pieces.add(bank.drain())
        if not len(pieces):
            return partial(self.task, bank.drain(), sizes)
        if len(bank):
            pieces.add(bank.drain())
        return pieces.result

    def bank(self) -> TrackBank:
        """Where the tracks of an online video are collected."""
        return TrackBank(dtype=self.mask_dtype, show_unseen=self.show_unseen, scores=self.scores)

    @torch.no_grad()
    def _predict_offline(self, images: Tensor, frames: Iterator[TrackedFrame]) -> VideoPrediction:
        """Tracks the video, refines its tracks, and decodes their masks window by window.

        Queries of all frames stay on the device, mask features do not: they wait on the host,
        or are made a second time.
        """
        bank, features = SequenceBank(self.sequences), []
        for done in frames:
            bank.add(done.state, done.step, done.rows, done.frame)
            if self.keep_features:
                features.append(done.frame.mask_features.cpu())
        refined = self.refine(bank)
        masks = []
        for start in range(0, len(images), self.window):
            piece = slice(start, start + self.window)
            if self.keep_features:
                shown = torch.cat(features[piece]).to(refined.queries.device)
            else:
                shown = self.mask_features(images[piece])
            masks.append(self.refined_masks(refined, piece, shown).cpu())
        return VideoPrediction(
            refined.ids, refined.logits, torch.cat(masks, dim=1), scores=refined.scores
        )

    @torch.no_grad()
    def refine(self, bank: SequenceBank) -> RefinedTracks:
        """Polishes the tracks of a video, or of a window of it."""
        assert self.refiner is not None
        tracks = bank.sequences()
        queries = self.refiner(tracks.queries.transpose(0, 1), bank.candidates, tracks.padded.T)
        logits = self.refiner.classify(queries)[0]
        scores = None if self.fuse_scores is None else self.fuse_scores(logits, tracks.logits)
        return RefinedTracks(tracks.ids, queries, logits, scores)

    @torch.no_grad()
    def refined_masks(self, refined: RefinedTracks, frames: slice, features: Tensor) -> Tensor:
        """(N, t, h, w) mask logits in some of the frames, from their features (t, D, h, w)."""
        assert self.refiner is not None
        masks = self.refiner.masks(refined.queries[:, frames], features)[0]
        return masks.to(self.mask_dtype or masks.dtype)

    def run(self, video: Video) -> MakeResult:
        """Runs the network over a video.

        Returns:
            Makes what the task delivers, with `trace` also what was proposed and decided. It
            does not need the network any more: another thread may call it meanwhile.
        """
        sizes = self.sizes(video)
        if self.trace:
            lines: list[dict[str, Any]] = []
            prediction = self.predict(
                video["images"], lambda done: lines.append(self._trace(done, sizes))
            )
            return lambda: self.deliver(prediction, video) | {"trace": lines}
        if self.refiner is None and self.in_pieces is not None:
            return self._in_pieces(self.frames(video["images"]), sizes)
        return partial(self.deliver, self.predict(video["images"]), video)

    def deliver(self, prediction: VideoPrediction, video: Video) -> dict[str, Any]:
        """The results of a video, as the task wants them."""
        if not self.prompted:
            return self.task(prediction, self.sizes(video), device=self.device)
        if "first_frame" not in video:
            raise ValueError(
                "MODEL.TASK vos follows given objects, and this video has no 'first_frame': "
                "evaluate on a data set of TASK vos, or choose MODEL.TASK vis"
            )
        given = video["first_frame"]
        return self.task(prediction, self.sizes(video), given, device=self.device)

    def _trace(self, done: TrackedFrame, sizes: FrameSizes) -> dict[str, Any]:
        new = slice(done.step.num_tracked, None)
        rows = done.step.tracked.rows(new)
        first = done.state.frame == 1
        return frame_trace(
            (done.frame.masks[0], foreground_score(done.frame.logits[0])),
            (rows.masks[-1, :, 0], rows.scores()),
            done.seen[new],
            sizes,
            rule="LIFECYCLE.FIRST_SCORE" if first else "LIFECYCLE.SCORE",
        )

    def _frozen(self) -> list[nn.Module]:
        children = self.named_children()  # without the refiner where that is None
        return [part for name, part in children if name not in self.objective.trains]

    def _clip(self, video: Video) -> Clip:
        images = video["images"].to(self.device)
        if self.cache is not None:
            images = self.cache(self.segmenter, images, video["file_names"])
        return Clip(images, video["targets"].to(self.device))

    def sizes(self, video: Video) -> FrameSizes:
        """The sizes of a video, `video` as in `forward`; its images need no more than a shape."""
        height, width = video["images"].shape[-2:]
        step = self.segmenter.size_divisibility
        padded = (-height % step + height, -width % step + width)
        output = (video.get("height", height), video.get("width", width))
        return FrameSizes(padded, (height, width), output)


def _shown(
    frames: Iterator[TrackedFrame], watch: Callable[[TrackedFrame], None]
) -> Iterator[TrackedFrame]:
    for done in frames:
        watch(done)
        yield done
