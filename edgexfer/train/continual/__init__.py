"""New images and classes for a checkpoint that must not forget what it knows."""
