"""Quantization-aware training: calibration, placement and kernels of the quantizers, the error of each layer."""
