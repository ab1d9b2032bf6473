"""The machine that measures: what it is, how it is at this moment, and whether that allows numbers."""
