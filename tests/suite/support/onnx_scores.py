"""Scores of an ONNX file by ONNX Runtime: onnx_scores.py FILE INPUT N C H W OUTPUT

INPUT and OUTPUT hold float32 in C order. The file is checked where the package onnx is there.
"""
import sys

import numpy
import onnxruntime

file, source, *shape, target = sys.argv[1:]
try:
    import onnx
except ImportError:
    print("unchecked")
else:
    onnx.checker.check_model(onnx.load(file), full_check=True)
    print("checked")
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
images = numpy.fromfile(source, numpy.float32).reshape([int(size) for size in shape])
(scores,) = session.run(["scores"], {"input": images})
scores.astype(numpy.float32).tofile(target)
