#!/usr/bin/python3
"""Opens a project in QGIS without a display, checks its layers, renders it.

Usage: project.py PROJECT.qgz OUT.png    (prints what it found as JSON)
"""
import json
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from qgis.core import (QgsApplication, QgsMapLayerType, QgsMapRendererParallelJob, QgsMapSettings,
                       QgsProject, QgsVectorLayer)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

WIDTH = 1200


def describe(layer, visible):
    found = {"name": layer.name(), "valid": layer.isValid(), "crs": layer.crs().authid(), "visible": visible}
    if layer.type() == QgsMapLayerType.VectorLayer:
        found["features"] = layer.featureCount()
    if layer.renderer() is not None:
        found["renderer"] = layer.renderer().type()
    return found


def render(layers, crs, box, out):
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(crs)
    settings.setExtent(box)
    settings.setBackgroundColor(QColor("white"))
    settings.setOutputSize(QSize(WIDTH, round(WIDTH * box.height() / box.width())))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    assert not job.errors(), [e.message for e in job.errors()]
    image = job.renderedImage()
    assert image.save(out), f"cannot write {out}"
    colours = {image.pixel(x, y) for x in range(0, image.width(), 7) for y in range(0, image.height(), 7)}
    return len(colours)


def main(path, out):
    if path.endswith(".qgz"):
        project = QgsProject.instance()
        assert project.read(path), f"QGIS cannot read {path}"
        tree = project.layerTreeRoot()
        layers, crs = tree.layerOrder(), project.crs()
        visible = {layer.id() for layer in tree.checkedLayers()}
        box = project.viewSettings().defaultViewExtent()
    else:
        # A single file with a style of its own.
        layers = [QgsVectorLayer(path, "layer", "ogr")]
        crs, box = layers[0].crs(), layers[0].extent()
        visible = {layers[0].id()}
    found = {"crs": crs.authid(), "layers": [describe(layer, layer.id() in visible) for layer in layers]}
    found["colours"] = render([layer for layer in layers if layer.id() in visible], crs, box, out)
    print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    app = QgsApplication([], False)
    app.initQgis()
    try:
        main(*sys.argv[1:])
    finally:
        app.exitQgis()
