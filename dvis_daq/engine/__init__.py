"""Training and evaluation on Detectron2's trainer and hooks."""
