"""Removing channels: which belong together, what each is worth and costs, and the network without them."""
