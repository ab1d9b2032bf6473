"""Sets that do not fit one machine: shards, read one window at a time."""
