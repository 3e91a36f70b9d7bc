//! Predicted buildings against known ones (OpenStreetMap, Overture, a cadastre): what is there, what has changed,
//! what is new, what is missing.

mod classes;

use std::path::{Path, PathBuf};

use geo::MultiPolygon;
use serde::Serialize;

pub use crate::config::conflate::ConflateOptions;
pub use classes::{Change, Status};

use crate::error::{Error, Result};
use crate::evaluate::buildings::pairs_above;
use crate::geo::Crs;
use crate::geo::measure::AreaMeter;
use crate::geo::overlap::Shape;
use crate::geo::vector::{
    FeatureReader, FieldKind, Format, LayerWriter, OutputCrs, Value, VectorSource, brought, mended,
    polygons_of,
};
use crate::output::Staged;
use crate::qgis::style;
use crate::table::table;
use classes::{Class, Classes, Link};

/// Counts of what was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The predicted buildings' file.
    pub predicted_file: PathBuf,
    /// The known buildings' file.
    pub reference_file: PathBuf,
    /// Predicted buildings.
    pub predicted: u64,
    /// Known buildings.
    pub reference: u64,
    /// Predicted buildings that match a known one each.
    pub matched: u64,
    /// Mean intersection over union of these.
    pub mean_iou: f64,
    /// Predicted buildings that are about a known one, but do not match it, and known ones that a predicted
    /// building of another swallows.
    pub changed: Changes,
    /// Predicted buildings where none is known.
    pub new: u64,
    /// Known buildings where none is predicted.
    pub missing: u64,
}

/// Counts of changed buildings by the way in which they have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// One against one, of another outline.
    pub shape: u64,
    /// One of several predicted buildings on a known one.
    pub split: u64,
    /// One predicted building on several known ones, or one of these.
    pub merged: u64,
}

/// A building of either side.
struct Building {
    id: String,
    polygons: MultiPolygon<f64>,
    confidence: Option<f64>,
}

/// Compares both files and writes every building, with what has become of it, to `out` (format by extension).
///
/// Memory: the buildings of both files.
///
/// # Errors
/// An option out of range; a file that cannot be read, or has no CRS where the other has one; `out` exists and
/// `overwrite` is false, or cannot be written.
pub fn run(
    predicted: &VectorSource,
    reference: &VectorSource,
    options: &ConflateOptions,
    out: &Path,
    output_crs: OutputCrs,
    overwrite: bool,
) -> Result<Report> {
    options.validate()?;
    Format::of(out)?;
    let staged = Staged::new(out, overwrite)?;
    let crs = FeatureReader::open(predicted)?.crs().cloned();
    let found = read(predicted, crs.as_ref())?;
    let known = read(reference, crs.as_ref())?;
    let shapes = |buildings: &[Building]| -> Vec<Shape> {
        buildings.iter().map(|building| Shape::new(&building.polygons)).collect()
    };
    let (found_shapes, known_shapes) = (shapes(&found), shapes(&known));
    let links: Vec<Link> = pairs_above(&found_shapes, &known_shapes, 0.0)
        .into_iter()
        .filter_map(|pair| {
            let (a, b) = (&found_shapes[pair.predicted], &known_shapes[pair.truth]);
            let shared = a.shared_area(b) / a.area().min(b.area());
            (pair.iou >= options.iou || shared >= options.shared).then_some(Link(pair))
        })
        .collect();
    let classes = Classes::of(&links, &found_shapes, &known_shapes, options.iou);
    let mut report = write(staged.path(), &classes, &found, &known, crs.as_ref(), output_crs)?;
    staged.commit()?;
    report.predicted_file.clone_from(&predicted.path);
    report.reference_file.clone_from(&reference.path);
    Ok(report)
}

/// The buildings of a file, in `crs` where there is one; those without an area are left out.
fn read(source: &VectorSource, crs: Option<&Crs>) -> Result<Vec<Building>> {
    let mut reader = FeatureReader::open(source)?;
    let way = reader.way_to(crs)?;
    if let (None, Some(own)) = (crs, reader.crs()) {
        return Err(Error::input(
            &source.path,
            "coordinates without a reference system, like those of the predicted buildings",
            own.label(),
            "assign the predicted buildings theirs, for example `ogr2ogr -a_srs EPSG:n ...`",
        ));
    }
    let in_degrees = crs.is_some_and(Crs::is_geographic);
    // What known buildings are called differs from source to source.
    let id_field = ["id", "osm_id", "@id"].iter().find_map(|name| reader.field(name));
    let confidence = reader.field("confidence");
    let mut buildings = Vec::new();
    let mut left_out = 0_u64;
    reader.each(|feature| {
        let id = id_field.map(|field| feature.attributes[field].text()).unwrap_or_default();
        let polygons = feature.geometry.and_then(polygons_of).and_then(mended);
        let Some(polygons) = polygons else {
            left_out += 1;
            return Ok(());
        };
        buildings.push(Building {
            id: if id.is_empty() { feature.fid.to_string() } else { id },
            polygons: brought(polygons, way.as_ref(), in_degrees)?,
            confidence: confidence.and_then(|field| feature.attributes[field].number()),
        });
        Ok(())
    })?;
    if left_out > 0 {
        tracing::warn!("{}: {left_out} features without an area left out", source.path.display());
    }
    Ok(buildings)
}

const FIELDS: [(&str, FieldKind); 8] = [
    ("status", FieldKind::Text),
    ("change", FieldKind::Text),
    ("iou", FieldKind::Real),
    ("id", FieldKind::Text),
    ("reference_id", FieldKind::Text),
    ("area_m2", FieldKind::Real),
    ("reference_area_m2", FieldKind::Real),
    ("confidence", FieldKind::Real),
];

/// A row for every predicted building, and for every known one that none of these names.
fn write(
    path: &Path,
    classes: &Classes,
    found: &[Building],
    known: &[Building],
    crs: Option<&Crs>,
    output_crs: OutputCrs,
) -> Result<Report> {
    let mut writer = LayerWriter::create_in(path, "changes", crs, output_crs, &FIELDS)?
        .with_style(style::by_change());
    let mut report = Report {
        predicted: found.len() as u64,
        reference: known.len() as u64,
        ..Report::default()
    };
    let areas_m2 = Areas::new(crs, found.first().or(known.first()));
    let mut iou_sum = 0.0;
    for (building, class) in found.iter().zip(&classes.predicted) {
        report.count(class);
        if class.status == Status::Matched {
            iou_sum += class.iou.unwrap_or_default();
        }
        let others: Vec<&Building> = class.others.iter().map(|&place| &known[place]).collect();
        let row = Row { class, id: &building.id, reference_id: &ids_of(&others) };
        let reference_m2 = others.iter().map(|other| areas_m2.of(other)).sum();
        let area_m2 = (Some(areas_m2.of(building)), (!others.is_empty()).then_some(reference_m2));
        row.write(&mut writer, building, area_m2)?;
    }
    for (building, class) in known.iter().zip(&classes.reference) {
        let Some(class) = class else { continue };
        report.count(class);
        let others: Vec<&Building> = class.others.iter().map(|&place| &found[place]).collect();
        let row = Row { class, id: &ids_of(&others), reference_id: &building.id };
        row.write(&mut writer, building, (None, Some(areas_m2.of(building))))?;
    }
    writer.finish()?;
    report.mean_iou = iou_sum / (report.matched as f64).max(1.0);
    Ok(report)
}

fn ids_of(buildings: &[&Building]) -> String {
    buildings.iter().map(|building| building.id.as_str()).collect::<Vec<_>>().join(",")
}

/// What stands beside a geometry.
struct Row<'a> {
    class: &'a Class,
    id: &'a str,
    reference_id: &'a str,
}

impl Row<'_> {
    fn write(
        &self,
        writer: &mut LayerWriter,
        building: &Building,
        (area_m2, reference_area_m2): (Option<f64>, Option<f64>),
    ) -> Result<()> {
        let text = |text| if str::is_empty(text) { Value::Null } else { Value::Text(text) };
        let real = |value: Option<f64>| value.map_or(Value::Null, Value::Real);
        // Square centimetres and thousandths say all there is to say.
        writer.push(
            &building.polygons.clone().into(),
            &[
                Value::Text(self.class.status.name()),
                self.class.change.map_or(Value::Null, |change| Value::Text(change.name())),
                real(self.class.iou.map(|iou| rounded(iou, 1e3))),
                text(self.id),
                text(self.reference_id),
                real(area_m2.map(|area| rounded(area, 1e2))),
                real(reference_area_m2.map(|area| rounded(area, 1e2))),
                real(building.confidence),
            ],
        )
    }
}

/// Areas on the ground.
struct Areas(AreaMeter);

impl Areas {
    /// For buildings in `crs` around one of them.
    fn new(crs: Option<&Crs>, one: Option<&Building>) -> Self {
        let vertex = one.and_then(|building| building.polygons.0.first()?.exterior().0.first());
        let (x, y) = vertex.map_or((0.0, 0.0), |c| (c.x, c.y));
        Self(AreaMeter::new(crs, x, y))
    }

    fn of(&self, building: &Building) -> f64 {
        building.polygons.iter().map(|polygon| self.0.area_m2(polygon)).sum()
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

impl Changes {
    /// Of all ways.
    pub fn total(&self) -> u64 {
        self.shape + self.split + self.merged
    }
}

impl Report {
    fn count(&mut self, class: &Class) {
        let counter = match (class.status, class.change) {
            (Status::Matched, _) => &mut self.matched,
            (Status::New, _) => &mut self.new,
            (Status::Missing, _) => &mut self.missing,
            (Status::Changed, Some(Change::Split)) => &mut self.changed.split,
            (Status::Changed, Some(Change::Merged)) => &mut self.changed.merged,
            (Status::Changed, _) => &mut self.changed.shape,
        };
        *counter += 1;
    }

    /// The counts, for a terminal.
    pub fn table(&self) -> String {
        let rows = [
            ("matched", self.matched, format!("mean IoU {:.3}", self.mean_iou)),
            (
                "changed",
                self.changed.total(),
                format!(
                    "{} of another shape, {} split, {} merged",
                    self.changed.shape, self.changed.split, self.changed.merged
                ),
            ),
            ("new", self.new, "predicted, not known".to_owned()),
            ("missing", self.missing, "known, not predicted".to_owned()),
        ];
        let rows = rows
            .into_iter()
            .map(|(name, count, text)| vec![name.to_owned(), text, count.to_string()]);
        format!(
            "{} predicted, {} known\n{}",
            self.predicted,
            self.reference,
            table(&["status", "", "buildings"], 2, rows)
        )
    }
}
