#!/usr/bin/python3
"""Opens a scene and its polygons in QGIS without a display, checks the geometries, renders both.

Usage: render.py SCENE GEOJSON OUT.png [XMIN,YMIN,XMAX,YMAX]    (extent in the scene's CRS)
"""
import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
from qgis.core import (Qgis, QgsApplication, QgsCoordinateTransform, QgsFillSymbol, QgsGeometry,
                       QgsMapRendererParallelJob, QgsMapSettings, QgsProject, QgsRasterLayer,
                       QgsRectangle, QgsVectorLayer)
from qgis.PyQt.QtCore import QSize

WIDTH = 1600


def main(scene_path, vector_path, out, extent=None):
    scene = QgsRasterLayer(scene_path, "scene")
    polygons = QgsVectorLayer(vector_path, "polygons", "ogr")
    assert scene.isValid(), f"not a raster for QGIS: {scene_path}"
    assert polygons.isValid(), f"not a vector layer for QGIS: {vector_path}"
    assert polygons.crs().authid() == "EPSG:4326", polygons.crs().authid()

    to_scene = QgsCoordinateTransform(polygons.crs(), scene.crs(), QgsProject.instance())
    print("QGIS", Qgis.QGIS_VERSION)
    print("features", polygons.featureCount())
    print("attributes", {f.name(): f.typeName() for f in polygons.fields()})
    for name, method in [("GEOS", QgsGeometry.ValidatorGeos), ("QGIS", QgsGeometry.ValidatorQgisInternal)]:
        errors = {f.id(): f.geometry().validateGeometry(method) for f in polygons.getFeatures()}
        bad = {fid: [e.what() for e in found] for fid, found in errors.items() if found}
        print(f"invalid ({name})", len(bad), "of", len(errors), bad or "")
    print("scene  ", scene.crs().authid(), scene.extent().toString(2))
    print("vectors", scene.crs().authid(), to_scene.transformBoundingBox(polygons.extent()).toString(2))

    outline = {"style": "no", "outline_color": "cyan", "outline_width": "0.4"}
    polygons.renderer().setSymbol(QgsFillSymbol.createSimple(outline))
    box = QgsRectangle(*map(float, extent.split(","))) if extent else scene.extent()
    settings = QgsMapSettings()
    settings.setLayers([polygons, scene])
    settings.setDestinationCrs(scene.crs())
    settings.setExtent(box)
    settings.setOutputSize(QSize(WIDTH, round(WIDTH * box.height() / box.width())))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    assert not job.errors(), [e.message for e in job.errors()]
    assert job.renderedImage().save(out), f"cannot write {out}"


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    app = QgsApplication([], False)
    app.initQgis()
    try:
        main(*sys.argv[1:])
    finally:
        app.exitQgis()
