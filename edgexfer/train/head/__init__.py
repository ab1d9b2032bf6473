"""Heads fitted to the features of a frozen backbone, what a backbone is worth to a set, and calibrated scores."""
