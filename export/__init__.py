"""Export a torch model to one self-contained ONNX file with static shapes, whose features agree with the torch model's."""
