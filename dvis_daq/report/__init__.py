"""One HTML file that shows what happened in a video, how good it was and how it was learned.

`content` turns tracks, ground truth, figures and training logs into plain data, `page` puts
them with the files of `templates/` into one document that needs no network.
"""

from dvis_daq.report.clips import ClipView, clip_data
from dvis_daq.report.page import render

__all__ = ["ClipView", "clip_data", "render"]
