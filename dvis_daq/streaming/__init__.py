"""A video frame by frame, in bounded memory: what `VideoPredictor.stream` is made of."""

from dvis_daq.streaming.offline import WindowedMode
from dvis_daq.streaming.online import Mode, OnlineMode
from dvis_daq.streaming.result import FrameResult
from dvis_daq.streaming.rows import Selection
from dvis_daq.streaming.state import VideoState, read_state, write_state
from dvis_daq.streaming.stream import CutRule, Streamer

__all__ = [
    "CutRule",
    "FrameResult",
    "Mode",
    "OnlineMode",
    "Selection",
    "Streamer",
    "VideoState",
    "WindowedMode",
    "read_state",
    "write_state",
]
