"""Measuring: a bundle in, an Evaluation or a Latency out, every raw value kept."""
