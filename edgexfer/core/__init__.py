"""Values and files: what every other layer stands on. Standard library, numpy and Pillow only."""
