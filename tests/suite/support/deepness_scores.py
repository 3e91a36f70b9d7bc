"""Scores as the QGIS plugin Deepness gets them: deepness_scores.py FILE PIXELS OUTPUT

PIXELS holds bytes [size, size, bands]. All else comes from the file: size, bands, mean and deviation.
"""
import json
import sys

import numpy
import onnxruntime

file, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
about = {key: json.loads(value) for key, value in about.items()}
(images,) = session.get_inputs()
(scores,) = session.get_outputs()
batch, bands, rows, columns = images.shape
assert isinstance(batch, str), "any number of tiles at once"
assert rows == columns == about["tile_size"], "tiles of one size"
assert about["model_type"] == "Segmentor"
assert sorted(map(int, about["class_names"])) == list(range(scores.shape[1]))
tiles = numpy.fromfile(source, numpy.uint8).reshape(1, rows, columns, bands)
tiles = numpy.float32(tiles / 255)
mean, std = (numpy.float32(about[f"standardization_{key}"]) for key in ("mean", "std"))
tiles = ((tiles - mean) / std).transpose(0, 3, 1, 2)
session.run(None, {images.name: tiles})[0].astype(numpy.float32).tofile(target)
