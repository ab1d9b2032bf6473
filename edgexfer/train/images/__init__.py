"""Images of a data set: read, divided into train, val and test, kept decoded, augmented and fed to the network."""
