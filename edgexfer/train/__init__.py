"""The only home of torch: images become a checkpoint, a checkpoint becomes ONNX."""
