"""The light side: a bundle becomes a Classifier inside the user's application."""
