"""Runs exported models by onnxruntime and numpy, without torch; writes and quantises them.

model = plait.runtime.load("captioner.onnx")
model.predict("photo.jpg").value
"""

from plait.runtime.engines import load_exported as load

__all__ = ["load"]
