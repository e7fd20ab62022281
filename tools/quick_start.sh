#!/usr/bin/env bash
# The quick start (`make demo`): synthetic video in; a trained tracker, an overlay and a report out.
# BIN: folder of the Python to use; OUTPUT: where everything goes; STAGE: online | offline.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
OUTPUT=${OUTPUT:-output}
STAGE=${STAGE:-online}
DATA="$OUTPUT/synthetic"
CLIP=${CLIP:-0001}  # held out; its objects enter, pass through, leave and come back
# Shorter than configs/synthetic/*.yaml, which take the full budget of docs/synthetic.md.
SEGMENTER_ITERATIONS=${SEGMENTER_ITERATIONS:-700}
TRACKER_ITERATIONS=${TRACKER_ITERATIONS:-650}

python() { "$BIN/python" -W ignore "$@"; }
step() { printf '\n== %s\n' "$*"; }
overrides=(
    DATASETS.CUSTOM "[{'NAME': 'synthetic_train', 'TASK': 'vis', 'JSON': '$DATA/train.json', 'IMAGES': '$DATA/train'},
                      {'NAME': 'synthetic_val', 'TASK': 'vis', 'JSON': '$DATA/val.json', 'IMAGES': '$DATA/val'}]"
)

step "1/5 synthetic videos with scripted objects: $DATA"
python datasets/make_synthetic.py --output "$DATA"

step "2/5 the segmenter ($SEGMENTER_ITERATIONS iterations)"
python tools/train_net.py --config-file configs/synthetic/MinVIS.yaml "${overrides[@]}" \
    OUTPUT_DIR "$OUTPUT/synthetic_minvis" SOLVER.MAX_ITER "$SEGMENTER_ITERATIONS"

step "3/5 the tracker with dynamic anchors ($TRACKER_ITERATIONS iterations)"
python tools/train_net.py --config-file configs/synthetic/DVIS_DAQ_online.yaml "${overrides[@]}" \
    MODEL.WEIGHTS "$OUTPUT/synthetic_minvis/model_final.safetensors" \
    OUTPUT_DIR "$OUTPUT/synthetic_daq_online" SOLVER.MAX_ITER "$TRACKER_ITERATIONS" \
    DATASETS.TEST "()"
CONFIG=configs/synthetic/DVIS_DAQ_online.yaml
WEIGHTS="$OUTPUT/synthetic_daq_online/model_final.safetensors"
runs=(segmenter="$OUTPUT/synthetic_minvis/metrics.json" tracker="$OUTPUT/synthetic_daq_online/metrics.json")

if [ "$STAGE" = offline ]; then
    step "3b/5 the temporal refiner"
    python tools/train_net.py --config-file configs/synthetic/DVIS_DAQ_offline.yaml "${overrides[@]}" \
        MODEL.WEIGHTS "$WEIGHTS" OUTPUT_DIR "$OUTPUT/synthetic_daq_offline"
    CONFIG=configs/synthetic/DVIS_DAQ_offline.yaml
    WEIGHTS="$OUTPUT/synthetic_daq_offline/model_final.safetensors"
    runs+=(refiner="$OUTPUT/synthetic_daq_offline/metrics.json")
fi

step "4/5 AP, and how objects that emerge and disappear are found"
python tools/eval.py --events --explain --json "$OUTPUT/figures.json" \
    --config-file "$CONFIG" --weights "$WEIGHTS" \
    "${overrides[@]}" OUTPUT_DIR "$OUTPUT/evaluation"

step "5/5 overlay of a held-out clip, and the report"
python tools/demo.py --config-file "$CONFIG" --weights "$WEIGHTS" \
    --input "$DATA/val/$CLIP" --output "$OUTPUT/demo" --score 0.3 "${overrides[@]}"
python tools/report.py --tracks "$OUTPUT/demo/tracks.json" --gt "$DATA/val.json" \
    --trace "$OUTPUT/evaluation/inference/synthetic_val/trace.jsonl" \
    --figures "$OUTPUT/figures.json" --runs "${runs[@]}" \
    --title "Quick start: clip $CLIP" --output "$OUTPUT/report.html"

printf '\nfigures: %s\noverlay: %s\nreport:  %s (open it in a browser)\n' \
    "$OUTPUT/figures.json" "$OUTPUT/demo/overlay.mp4" "$OUTPUT/report.html"
