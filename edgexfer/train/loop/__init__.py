"""The training loop: schedule, loss, metrics, what is kept, what trackers are told."""
