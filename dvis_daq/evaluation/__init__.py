"""Evaluators: what a model says of a data set becomes files and figures."""
