"""Public data sets from the form they are published in to the form that is read here.

Each part of the work (a video) is written under a temporary name first, so an interrupted run
goes on where it was; `datasets/prepare_*.py` are the command lines.
"""
