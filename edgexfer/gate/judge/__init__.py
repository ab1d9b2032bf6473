"""Judging: a bundle, limits and a baseline in, verdicts out: pass, fail or inconclusive, each with its reason."""
