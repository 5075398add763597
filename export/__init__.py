"""Export a torch model to one ONNX file, whose shapes (except the batch) are static and whose features agree with the model's."""
