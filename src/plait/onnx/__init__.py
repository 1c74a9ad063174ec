"""Runs exported models with onnxruntime and numpy, without torch.

model = plait.onnx.load("captioner.onnx")
model.predict("photo.jpg").value
"""

from plait.onnx.model import OnnxModel, load

__all__ = ["OnnxModel", "load"]
