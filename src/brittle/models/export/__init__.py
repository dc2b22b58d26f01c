"""Networks outside of torch: an ONNX file checked against the original, and what a network costs to run."""
