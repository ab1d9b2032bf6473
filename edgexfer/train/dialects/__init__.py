"""From a network to ONNX in the form that an engine runs best, and the rules that such a file is held to."""
