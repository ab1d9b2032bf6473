"""What runs on the device to make a bundle ready there: neither torch nor onnx."""
