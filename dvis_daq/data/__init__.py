"""From files on disk to clips: registration, readers, frame choice, transforms, loaders.

A record (one video of a data set, `annotations.py`) goes through a mapper (`mapper.py`) and
becomes the dict that `VideoModel.forward` takes. Nothing here knows a model.
"""
