"""The report: one HTML page on a checkpoint or a bundle."""
