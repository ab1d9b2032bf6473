"""Images without labels: adapting to a device's images, self-supervised starts, how far a set is from the weights."""
