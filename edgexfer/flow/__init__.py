"""Verbs that need several stages: export (compress, lower, measure, choose) and the demo."""
