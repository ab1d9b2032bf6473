"""Sweep: many fine-tunings in search of the settings that suit images and device, in one study that can be resumed."""
