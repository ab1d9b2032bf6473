"""Tests, laid out as the package is. A package itself, so that no other `tests` on the path is meant."""
