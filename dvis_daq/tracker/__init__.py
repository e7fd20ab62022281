"""A of Eq. 1: objects of single frames become tracks. Every tracker has `step`."""
