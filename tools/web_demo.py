"""A page on this computer: upload a clip, choose weights, watch the tracks, download the results.

It needs `pip install -e ".[web]"` (Gradio) and listens on this computer alone. Each clip goes
through tools/demo.py in a process of its own; uploads and results are removed at the end.

Examples:
  the model of the quick start:
    python tools/web_demo.py --model quick configs/synthetic/DVIS_DAQ_online.yaml \\
        output/synthetic_daq_online/model_final.safetensors
  two models to choose from, on a CPU, clips of at most 50 MB:
    python tools/web_demo.py --model R50 configs/ovis/DVIS_DAQ_online_R50.yaml daq_ovis_r50.pth \\
        --model MinVIS configs/ovis/MinVIS_R50.yaml minvis_ovis_r50.pth \\
        --max-mb 50 --opts MODEL.DEVICE cpu

Exit status: 0 stopped, 1 something given is missing, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # runs from a plain checkout

import dvis_daq  # noqa: F401  makes detectron2 importable
from dvis_daq.data.video_io import VideoFile
from dvis_daq.demo.journal import frames_done
from dvis_daq.report import ClipView, clip_data, render
from dvis_daq.report.sources import frames_of
from dvis_daq.tracks import VideoTracks, read_tracks
from dvis_daq.visualization import DEFAULT_PARTS, PARTS

SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi")
REPORT_BYTES = 24_000_000
POLL = 0.3  # seconds between two looks at a job

Told = Callable[[int, int], None]


class RefusedError(Exception):
    """Something the visitor asked for cannot be done; the text is shown."""


@dataclass(frozen=True)
class Model:
    """What a visitor may choose by its name."""

    config: Path
    weights: Path


@dataclass(frozen=True)
class Limits:
    """What one clip may cost.

    Attributes:
        bytes: of the upload.
        frames: taken from the clip, the rest is left out.
        seconds: of work.
    """

    bytes: int
    frames: int
    seconds: float


@dataclass(frozen=True)
class Results:
    """What comes out of a clip; all files lie in the workplace."""

    overlay: Path
    tracks: Path
    report: Path
    content: VideoTracks


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "YAML", "WEIGHTS"),
        help="a choice for the visitor; may be given several times",
    )
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    parser.add_argument("--max-mb", type=float, default=200, help="of an upload (default 200)")
    parser.add_argument("--max-frames", type=int, default=300, help="of a clip (default 300)")
    parser.add_argument("--max-minutes", type=float, default=15, help="of work (default 15)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    options = parser.parse_args(arguments)
    if min(options.max_mb, options.max_frames, options.max_minutes) <= 0:
        parser.error("the limits must be positive")
    return options


def models_of(options: argparse.Namespace) -> dict[str, Model]:
    """The choices by name.

    Raises:
        SystemExit: a file is missing, or a name is given twice.
    """
    found: dict[str, Model] = {}
    for name, config, weights in options.model:
        for path in (config, weights):
            if not Path(path).is_file():
                raise SystemExit(f"error: --model {name}: no file {path}")
        if name in found:
            raise SystemExit(f"error: --model {name} is given twice; choose another name")
        found[name] = Model(Path(config), Path(weights))
    return found


def checked_upload(upload: str | os.PathLike[str], folder: Path, limit: int) -> Path:
    """The uploaded clip, if it is one.

    Gradio lets a client name uploaded files only; this does not rely on it. The first bytes
    must be those of a video container: a playlist could make the decoder open other files.

    Raises:
        RefusedError: it lies outside of the upload folder, is too large, or is no video.
    """
    path = Path(upload).resolve()
    if folder.resolve() not in path.parents or not path.is_file():
        raise RefusedError("Upload a clip first.")
    if path.stat().st_size > limit:
        raise RefusedError(f"The clip is larger than {limit / 1e6:.0f} MB.")
    with open(path, "rb") as file:
        head = file.read(12)
    mpeg4, matroska = head[4:8] == b"ftyp", head[:4] == b"\x1a\x45\xdf\xa3"
    avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    if not (mpeg4 or matroska or avi):
        raise RefusedError(f"This is no video; upload one of {', '.join(SUFFIXES)}.")
    return path


def _nothing(done: int, total: int) -> None:
    """For those who do not want to be told."""


def _length(clip: Path) -> int | None:
    """Frames of a clip, None if its header does not say.

    Raises:
        RefusedError: it cannot be opened.
    """
    try:
        return VideoFile(clip).length
    except ValueError:
        raise RefusedError("This video cannot be opened; convert it to MP4.") from None


def run_demo(command: Sequence[str], seconds: float, watch: Callable[[], None]) -> None:
    """Runs tools/demo.py.

    Args:
        command: program and arguments.
        seconds: that it may take.
        watch: called now and then while it works.

    Raises:
        RefusedError: it fails, or takes too long.
    """
    stop = time.monotonic() + seconds
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        while process.returncode is None:
            try:
                _, told = process.communicate(timeout=POLL)
            except subprocess.TimeoutExpired:
                if time.monotonic() > stop:
                    process.kill()
                    text = f"This clip takes more than {seconds / 60:g} minutes."
                    raise RefusedError(text) from None
                watch()
    if process.returncode:
        lines = told.strip().splitlines() or ["error: the demo failed without a word"]
        print(told, file=sys.stderr)  # the whole story is for the host
        raise RefusedError(lines[-1].removeprefix("error: "))


@dataclass(frozen=True)
class Workshop:
    """Turns uploads into results.

    Attributes:
        models: by name.
        limits: of a clip.
        folder: where uploads and results lie.
        opts: config keys and values.
    """

    models: Mapping[str, Model]
    limits: Limits
    folder: Path
    opts: Sequence[str] = ()

    def segment(
        self, upload: str, model: str, score: float, parts: Sequence[str], told: Told = _nothing
    ) -> Results:
        """Segments and tracks an uploaded clip.

        Args:
            upload: where the clip lies.
            model: name of a choice.
            score: least score of a track, 0..1.
            parts: what to draw.
            told: the number of frames that are segmented, now and then, and how many there are.

        Raises:
            RefusedError: with a text for the visitor.
        """
        if model not in self.models or not set(parts) <= set(PARTS):
            raise RefusedError("There is no such choice.")
        clip = checked_upload(upload, self.folder, self.limits.bytes)
        output = Path(tempfile.mkdtemp(prefix="result-", dir=self.folder))
        chosen = self.models[model]
        total = min(_length(clip) or self.limits.frames, self.limits.frames)
        run_demo(
            [sys.executable, str(ROOT / "tools" / "demo.py")]
            + ["--config-file", str(chosen.config), "--weights", str(chosen.weights)]
            + ["--input", str(clip), "--output", str(output), "--score", f"{float(score):.3f}"]
            + ["--draw", ",".join(parts), "--max-frames", str(self.limits.frames), *self.opts],
            self.limits.seconds,
            lambda: told(frames_done(output / ".job"), total),
        )
        tracks = read_tracks(output / "tracks.json").select(score=float(score))
        view = ClipView(tracks, frames_of(tracks, str(clip)))
        page = render(clip.name, clips=[clip_data(view, budget=REPORT_BYTES)])
        (output / "report.html").write_text(page, encoding="utf-8")
        return Results(
            output / "overlay.mp4", output / "tracks.json", output / "report.html", tracks
        )


def summary(content: VideoTracks) -> str:
    """One line for the visitor; class names come from the host's own weights."""
    count = len(content.tracks)
    born = sum(track.born > 0 for track in content.tracks)
    gone = sum(track.stop < content.video.frames for track in content.tracks)
    return (
        f"{content.video.frames} frames, {count} objects; {born} came later than the first frame, "
        f"{gone} left before the last."
    )


def build_page(workshop: Workshop) -> Any:
    """The page: a `gradio.Blocks`."""
    import gradio as gr

    limit = f"{workshop.limits.bytes / 1e6:.0f} MB, the first {workshop.limits.frames} frames"
    with gr.Blocks(title="DVIS-DAQ", analytics_enabled=False) as page:
        gr.Markdown("# DVIS-DAQ\nSegments the objects of a clip and tells when they come and go.")
        with gr.Row():
            with gr.Column(scale=2):
                upload = gr.File(label=f"Clip (at most {limit})", file_types=list(SUFFIXES))
                names = list(workshop.models)
                model = gr.Dropdown(names, value=names[0], label="Weights", filterable=False)
                score = gr.Slider(0, 1, value=0.3, step=0.01, label="Least score of an object")
                parts = gr.CheckboxGroup(list(PARTS), value=list(DEFAULT_PARTS), label="Draw")
                start = gr.Button("Segment", variant="primary", elem_id="start")
            with gr.Column(scale=3):
                overlay = gr.Video(show_label=False, interactive=False, elem_id="overlay")
                told = gr.Markdown(elem_id="told")
                files = gr.File(label="Results", file_count="multiple", interactive=False)
        start.click(
            _answer(workshop),
            [upload, model, score, parts],
            [overlay, told, files],
            concurrency_limit=1,
            api_visibility="private",
        )
    return page


def _answer(workshop: Workshop) -> Callable[..., tuple[str, str, list[str]]]:
    """What the button does; a refusal is shown as a message."""
    import gradio as gr

    def answer(
        upload: str | None,
        model: str,
        score: float,
        parts: list[str],
        progress=gr.Progress(),  # noqa: B008  how Gradio hands it over
    ) -> tuple[str, str, list[str]]:
        def told(done: int, total: int) -> None:
            step = "Segmenting" if done else "Starting"
            progress((done, total), desc="Drawing" if done >= total else step, unit="frames")

        try:
            made = workshop.segment(upload or "", model, score, parts, told)
        except (RefusedError, ValueError) as error:
            raise gr.Error(str(error)) from None
        downloads = [str(path) for path in (made.report, made.tracks, made.overlay)]
        return str(made.overlay), summary(made.content), downloads

    return answer


def launch(page: Any, options: argparse.Namespace, *, block: bool = True) -> str:
    """Serves the page on this computer alone; returns its address."""
    import gradio as gr

    _, address, _ = page.queue(max_size=8).launch(
        server_name="127.0.0.1",
        server_port=options.port,
        share=False,
        inbrowser=options.open,
        max_file_size=int(options.max_mb * 1e6),
        prevent_thread_lock=not block,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        footer_links=["settings"],
    )
    return address


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    models = models_of(options)
    limits = Limits(int(options.max_mb * 1e6), options.max_frames, 60 * options.max_minutes)
    with tempfile.TemporaryDirectory(prefix="dvis_daq_web_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        try:
            page = build_page(Workshop(models, limits, Path(folder), options.opts))
        except ImportError as error:
            raise SystemExit(f'error: {error}; pip install -e ".[web]"') from None
        launch(page, options)


if __name__ == "__main__":
    main()
