"""The one error of bad data."""


class BrokenDataError(ValueError):
    """A file or an entry of a data set cannot be used; the message names it and the remedy.

    With `DATALOADER.SKIP_BROKEN` training leaves out what raises this, and counts it.
    """
