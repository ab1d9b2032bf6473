"""Weights set to zero, none removed: which ones, how they stay zero while the rest learns, and what that gains."""
