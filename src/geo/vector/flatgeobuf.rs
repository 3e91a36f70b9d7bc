//! Features into FlatGeobuf (version 3): features wait in a file without a name until the last one is known, then stand
//! in the order of their places along a Hilbert curve behind an index of their boxes.

use std::fs::File;
use std::io::{BufWriter, IntoInnerError, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ::flatgeobuf::packed_r_tree::{NodeItem, PackedRTree, calc_extent, hilbert_sort};
use ::flatgeobuf::{
    Column, ColumnArgs, ColumnType, Crs as CrsTable, CrsArgs, Feature, FeatureArgs, Geometry,
    GeometryArgs, GeometryType, Header, HeaderArgs, VERSION,
};
use flatbuffers::{FlatBufferBuilder, WIPOffset};
use geo::{BoundingRect, CoordsIter};

use super::write::{FieldKind, Value};
use crate::error::{Error, Result};
use crate::geo::crs::Crs;

/// FlatBuffers end at 2 GiB; a corner takes 16 bytes.
const MOST_CORNERS: usize = 1 << 26;
/// Bytes that are collected before they are written: features are small, and each write is a call.
const BUFFER: usize = 1 << 20;
/// Children of a node of the index.
const NODE_SIZE: u16 = PackedRTree::DEFAULT_NODE_SIZE;

/// A file that is put together when its last feature is known.
pub(super) struct FlatGeobuf {
    path: PathBuf,
    layer_name: String,
    crs: Option<Crs>,
    fields: Vec<(String, FieldKind)>,
    /// Features in the order in which they came; gone with the process, however it ends.
    waiting: BufWriter<File>,
    /// Where each of them begins in it, and after the last one where that ends.
    starts: Vec<u64>,
    /// Their boxes; the offset is their number until they are sorted.
    nodes: Vec<NodeItem>,
    all_single: bool,
    builder: FlatBufferBuilder<'static>,
    corners: Vec<f64>,
    properties: Vec<u8>,
}

impl FlatGeobuf {
    /// Begins with the features; the file itself comes with [`FlatGeobuf::finish`]. `crs` is that of the coordinates.
    pub(super) fn create(
        path: &Path,
        layer_name: &str,
        crs: Option<&Crs>,
        fields: &[(&str, FieldKind)],
    ) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let waiting = tempfile::tempfile_in(folder.unwrap_or(Path::new(".")));
        let waiting = waiting.map_err(Error::io(path))?;
        Ok(Self {
            path: path.to_owned(),
            layer_name: layer_name.to_owned(),
            crs: crs.cloned(),
            fields: fields.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            waiting: BufWriter::with_capacity(BUFFER, waiting),
            starts: vec![0],
            nodes: Vec::new(),
            all_single: true,
            builder: FlatBufferBuilder::new(),
            corners: Vec::new(),
            properties: Vec::new(),
        })
    }

    pub(super) fn push(
        &mut self,
        geometry: &geo::Geometry<f64>,
        values: &[Value<'_>],
    ) -> Result<()> {
        let Some(bounds) = geometry.bounding_rect() else {
            return Err(Error::input(&self.path, "polygons", "an empty one", "leave it out"));
        };
        let corners = geometry.coords_count();
        if corners > MOST_CORNERS {
            return Err(Error::input(
                &self.path,
                format!("polygons of at most {MOST_CORNERS} corners, as FlatGeobuf holds them"),
                format!("one of {corners}"),
                "simplify the outlines (`polygonize.simplify_m`), or write .gpkg",
            ));
        }
        self.builder.reset();
        let geometry = match geometry {
            geo::Geometry::MultiPolygon(polygons) => {
                self.all_single = false;
                let parts: Vec<_> = polygons.iter().map(|polygon| self.polygon(polygon)).collect();
                let parts = Some(self.builder.create_vector(&parts));
                let type_ = GeometryType::MultiPolygon;
                let args = GeometryArgs { type_, parts, ..Default::default() };
                Geometry::create(&mut self.builder, &args)
            }
            geo::Geometry::Polygon(polygon) => self.polygon(polygon),
            _ => {
                let hint = "only polygons are written";
                return Err(Error::input(&self.path, "polygons", "another geometry", hint));
            }
        };
        self.set_properties(values);
        let properties = Some(self.builder.create_vector(&self.properties));
        let args = FeatureArgs { geometry: Some(geometry), properties, columns: None };
        let feature = Feature::create(&mut self.builder, &args);
        self.builder.finish_size_prefixed(feature, None);

        let bytes = self.builder.finished_data();
        self.waiting.write_all(bytes).map_err(Error::io(&self.path))?;
        let number = self.nodes.len();
        self.starts.push(self.starts[number] + bytes.len() as u64);
        let (min, max) = (bounds.min(), bounds.max());
        self.nodes.push(NodeItem {
            offset: number as u64,
            ..NodeItem::bounds(min.x, min.y, max.x, max.y)
        });
        Ok(())
    }

    fn polygon(&mut self, polygon: &geo::Polygon<f64>) -> WIPOffset<Geometry<'static>> {
        self.corners.clear();
        let mut ends = Vec::new();
        for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
            self.corners.extend(ring.coords().flat_map(|corner| [corner.x, corner.y]));
            ends.push(self.corners.len() as u32 / 2);
        }
        let xy = Some(self.builder.create_vector(&self.corners));
        let ends = (ends.len() > 1).then(|| self.builder.create_vector(&ends));
        let type_ = GeometryType::Polygon;
        Geometry::create(&mut self.builder, &GeometryArgs { ends, xy, type_, ..Default::default() })
    }

    /// Number of the column and value, one after another; what is unknown, or of another kind than its column's, is
    /// left out.
    fn set_properties(&mut self, values: &[Value<'_>]) {
        let bytes = &mut self.properties;
        bytes.clear();
        for (column, ((_, kind), value)) in self.fields.iter().zip(values).enumerate() {
            let column = (column as u16).to_le_bytes();
            match (kind, value) {
                (FieldKind::Int, Value::Int(value)) => {
                    bytes.extend(column);
                    bytes.extend(value.to_le_bytes());
                }
                (FieldKind::Real, Value::Real(value)) => {
                    bytes.extend(column);
                    bytes.extend(value.to_le_bytes());
                }
                (FieldKind::Text, Value::Text(value)) => {
                    bytes.extend(column);
                    bytes.extend((value.len() as u32).to_le_bytes());
                    bytes.extend(value.as_bytes());
                }
                _ => {}
            }
        }
    }

    /// Puts the file together: header, index, features.
    pub(super) fn finish(mut self) -> Result<()> {
        let path = std::mem::take(&mut self.path);
        self.assemble(&path).map_err(Error::io(&path))
    }

    fn assemble(mut self, path: &Path) -> std::io::Result<()> {
        let waiting = self.waiting.into_inner().map_err(IntoInnerError::into_error)?;
        let mut out = BufWriter::with_capacity(BUFFER, File::create(path)?);
        // An index of nothing has no extent.
        let extent = (!self.nodes.is_empty()).then(|| calc_extent(&self.nodes));
        let kind = if self.all_single { GeometryType::Polygon } else { GeometryType::Unknown };
        let (crs, count) = (self.crs.as_ref(), self.nodes.len());
        out.write_all(&[b'f', b'g', b'b', VERSION, b'f', b'g', b'b', 0])?;
        out.write_all(&header(&self.layer_name, crs, &self.fields, kind, extent.as_ref(), count))?;

        let mut order = Vec::with_capacity(count);
        if let Some(extent) = &extent {
            hilbert_sort(&mut self.nodes, extent);
            let mut offset = 0;
            for node in &mut self.nodes {
                let number = node.offset as usize;
                let place = self.starts[number]..self.starts[number + 1];
                node.offset = offset;
                offset += place.end - place.start;
                order.push(place);
            }
            let tree = PackedRTree::build(&self.nodes, extent, NODE_SIZE)
                .map_err(std::io::Error::other)?;
            tree.stream_write(&mut out)?;
        }
        let mut feature = Vec::new();
        for place in order {
            feature.resize((place.end - place.start) as usize, 0);
            waiting.read_exact_at(&mut feature, place.start)?;
            out.write_all(&feature)?;
        }
        out.into_inner().map_err(IntoInnerError::into_error)?;
        Ok(())
    }
}

/// What stands before the features. `kind` is unknown where each feature says its own.
fn header(
    layer_name: &str,
    crs: Option<&Crs>,
    fields: &[(String, FieldKind)],
    kind: GeometryType,
    extent: Option<&NodeItem>,
    count: usize,
) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let columns: Vec<_> = fields
        .iter()
        .map(|(name, kind)| {
            let name = Some(builder.create_string(name));
            let type_ = match kind {
                FieldKind::Int => ColumnType::Long,
                FieldKind::Real => ColumnType::Double,
                FieldKind::Text => ColumnType::String,
            };
            Column::create(&mut builder, &ColumnArgs { name, type_, ..Default::default() })
        })
        .collect();
    let columns = Some(builder.create_vector(&columns));
    let crs = crs.map(|crs| {
        let authority = crs.authority();
        let args = CrsArgs {
            org: authority.map(|(organization, _)| builder.create_string(organization)),
            code: authority.and_then(|(_, code)| code.parse().ok()).unwrap_or(0),
            code_string: authority.map(|(_, code)| builder.create_string(code)),
            name: Some(builder.create_string(crs.label())),
            wkt: Some(builder.create_string(crs.wkt())),
            ..Default::default()
        };
        CrsTable::create(&mut builder, &args)
    });
    let envelope = extent.map(|e| [e.min_x, e.min_y, e.max_x, e.max_y]);
    let args = HeaderArgs {
        name: Some(builder.create_string(layer_name)),
        envelope: envelope.map(|envelope| builder.create_vector(&envelope)),
        geometry_type: kind,
        columns,
        features_count: count as u64,
        index_node_size: if extent.is_some() { NODE_SIZE } else { 0 },
        crs,
        ..Default::default()
    };
    let header = Header::create(&mut builder, &args);
    builder.finish_size_prefixed(header, None);
    builder.finished_data().to_vec()
}
