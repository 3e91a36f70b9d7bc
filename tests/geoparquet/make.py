"""Makes the files of this folder, as another program writes GeoParquet (pyarrow 26.0.1, shapely 2.2.0, pyproj 3.7.2).

overture.parquet: the columns of Overture Maps' buildings, compressed as theirs are, in row groups of two.
lz4.parquet: a codec that is not read.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon


def house(x, y, height=None):
    corners = [(0, 0), (2, 0), (2, 1), (0, 1), (0, 0)]
    z = () if height is None else (height,)
    return Polygon([((x + a) / 1e4, (y + b) / 1e4, *z) for a, b in corners])


geometries = [
    house(852800, 276500),
    MultiPolygon([house(852810, 276500), house(852820, 276500)]),
    house(852830, 276500, 7.5),
    Point(85.284, 27.65),
    None,
]
names = [{"primary": "Town hall", "common": [("en", "Town hall")]}, None, None, None, None]
sources = [[{"dataset": "OpenStreetMap", "confidence": None}]] * 5
boxes = [None if g is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), g.bounds)) for g in geometries]
table = pa.table(
    {
        "id": ["08b3", "08b4", None, "08b6", "08b7"],
        "geometry": [None if g is None else shapely.to_wkb(g, flavor="iso") for g in geometries],
        "bbox": pa.array(boxes, pa.struct([(corner, pa.float32()) for corner in ("xmin", "ymin", "xmax", "ymax")])),
        "version": pa.array([1, 2, 3, 4, None], pa.int32()),
        "sources": sources,
        "names": pa.array(names, pa.struct([("primary", pa.string()), ("common", pa.map_(pa.string(), pa.string()))])),
        "class": pa.array(["house", "house", "school", None, "house"]).dictionary_encode(),
        "height": [3.5, None, 7.5, None, 4.0],
        "level": pa.array([0.5, 1, 2, None, 3], pa.float32()),
        "has_parts": [True, False, None, False, True],
        "update_time": pa.array([1717236300250, None, 0, 0, 0], pa.timestamp("ms", "UTC")),
        "surveyed": pa.array([19876, None, 0, 0, 0], pa.date32()),
    }
)
geo = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["MultiPolygon", "Point", "Polygon", "Polygon Z"],
            "crs": pyproj.CRS("OGC:CRS84").to_json_dict(),
        }
    },
}


def write(path, table, compression):
    options = {"compression": compression, "store_schema": False, "write_statistics": False}
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        writer.add_key_value_metadata({"geo": json.dumps(geo, separators=(",", ":"))})
        writer.write_table(table, row_group_size=2)


write("overture.parquet", table, "zstd")
write("lz4.parquet", table.select(["geometry"]), "lz4")
