"""Runs exported models with onnxruntime and numpy, without torch.

model = plait.runtime.load("captioner.onnx")
model.predict("photo.jpg").value
"""

from plait.runtime.model import OnnxModel, load

__all__ = ["OnnxModel", "load"]
