"""Many processes of one run: who writes, what is shared, what the others are told."""
