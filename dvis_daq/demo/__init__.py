"""What `tools/demo.py` is made of: a job that can be resumed, its results, its overlay."""
