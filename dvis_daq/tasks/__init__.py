"""What a task delivers of a `VideoPrediction`; pure functions, one module a task.

Each result is a mapping with its `task` and values on the host; evaluators write the files.
"""
