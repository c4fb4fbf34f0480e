"""Files of models, read within bounds: GGUF, safetensors, ONNX, OpenVINO IR, and folders."""
