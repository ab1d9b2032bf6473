"""Measuring and judging bundles."""
