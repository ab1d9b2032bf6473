"""Outputs: a GateResult as JUnit XML, Markdown, annotations and words."""
