"""What a run looks like: the report of one, the comparison of several."""
