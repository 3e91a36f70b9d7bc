//! Whether a file of buildings is fit to be handed on: no invalid or empty geometry, no slivers, no two
//! buildings on the same ground.
//!
//! The file is read twice: once for what a feature says by itself and for its box, once for the shapes of
//! those whose boxes overlap. Memory: some 110 bytes a feature, and the shapes of those.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use geo::{Area, BoundingRect, Euclidean, Length, MapCoords, MultiPolygon, Validation};
use rayon::prelude::*;
use serde::Serialize;

pub use crate::config::validate::ValidateOptions;

use crate::error::Result;
use crate::geo::boxes::{Bounds, overlapping};
use crate::geo::measure::LocalScale;
use crate::geo::overlap::Shape;
use crate::geo::vector::{Feature, FeatureReader, VectorSource};
use crate::progress::Progress;
use crate::table::table;

/// What can be wrong with a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// No polygon, or one without an area.
    Empty,
    /// Against the rules of simple features: rings that cross, say.
    Invalid,
    /// Too narrow for a building.
    Sliver,
    /// On the ground of another.
    Overlap,
}

/// A feature and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// Its attribute `id`, or the file's own number where there is none.
    pub id: String,
    /// What kind of defect.
    pub problem: Kind,
    /// In words.
    pub reason: String,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub file: PathBuf,
    /// Features in it.
    pub features: u64,
    /// Features against the rules of simple features.
    pub invalid: u64,
    /// Features without an area.
    pub empty: u64,
    /// Features too narrow for a building.
    pub slivers: u64,
    /// Features on the ground of others.
    pub overlapping: u64,
    /// Features with a defect of any kind.
    pub defective: u64,
    /// One entry a feature and kind: in file order, overlaps last.
    pub problems: Vec<Problem>,
}

/// Lines of problems in a report for people.
const MOST_LINES: usize = 20;

/// Features checked at once, in parallel.
const CHUNK: usize = 4096;

/// Checks every feature of a layer.
///
/// # Errors
/// An option out of range; no readable vector file.
pub fn run(source: &VectorSource, options: &ValidateOptions, progress: Progress) -> Result<Report> {
    options.validate()?;
    let mut reader = FeatureReader::open(source)?;
    let mut report = Report { file: source.path.clone(), ..Report::default() };
    let alone = check_alone(&mut reader, options, &mut report, progress)?;
    let pairs = overlapping(&alone.boxes, |_, _| true);
    let overlapping = check_overlaps(&mut reader, &pairs, options, &mut report)?;
    // A sliver on the ground of another is one defective feature.
    let others = overlapping.iter().filter(|place| alone.defective.binary_search(place).is_err());
    report.defective = (alone.defective.len() + others.count()) as u64;
    Ok(report)
}

/// What the first reading leaves.
#[derive(Default)]
struct Alone {
    /// One entry a feature; `None` for those that cannot be compared with others.
    boxes: Vec<Option<Bounds>>,
    /// Places of features with a defect, ascending.
    defective: Vec<usize>,
}

/// What a feature says by itself.
fn check_alone(
    reader: &mut FeatureReader,
    options: &ValidateOptions,
    report: &mut Report,
    progress: Progress,
) -> Result<Alone> {
    let id_field = reader.field("id");
    let mut scale = LocalScale::new(reader.crs());
    let bar = progress.bar("validate", reader.count(), "features");
    let mut found = Alone::default();
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut check = |chunk: &mut Vec<(Feature, (f64, f64))>| {
        let checked: Vec<_> =
            chunk.par_iter().map(|(feature, unit_m)| alone(feature, *unit_m, options)).collect();
        for ((feature, _), (bounds, defect)) in chunk.iter().zip(checked) {
            found.boxes.push(bounds);
            report.features += 1;
            let Some((problem, reason)) = defect else { continue };
            found.defective.push(found.boxes.len() - 1);
            match problem {
                Kind::Empty => report.empty += 1,
                Kind::Invalid => report.invalid += 1,
                Kind::Sliver => report.slivers += 1,
                Kind::Overlap => report.overlapping += 1,
            }
            report.problems.push(Problem { id: id_of(feature, id_field), problem, reason });
        }
        bar.inc(chunk.len() as u64);
        chunk.clear();
    };
    reader.each(|feature| {
        let centre = feature.geometry.as_ref().and_then(BoundingRect::bounding_rect);
        let unit_m = centre.map_or((1.0, 1.0), |b| scale.at(b.center().x, b.center().y));
        chunk.push((feature, unit_m));
        if chunk.len() == CHUNK {
            check(&mut chunk);
        }
        Ok(())
    })?;
    check(&mut chunk);
    bar.finish();
    Ok(found)
}

fn id_of(feature: &Feature, id_field: Option<usize>) -> String {
    let id = id_field.map(|field| feature.attributes[field].text()).unwrap_or_default();
    if id.is_empty() { feature.fid.to_string() } else { id }
}

/// The box of a feature that can be compared with others, and what is wrong with it.
fn alone(
    feature: &Feature,
    (x_m, y_m): (f64, f64),
    options: &ValidateOptions,
) -> (Option<Bounds>, Option<(Kind, String)>) {
    let empty = |reason: &str| (None, Some((Kind::Empty, reason.to_owned())));
    let polygons = match &feature.geometry {
        None => return empty("no geometry"),
        Some(geo::Geometry::Polygon(polygon)) => MultiPolygon(vec![polygon.clone()]),
        Some(geo::Geometry::MultiPolygon(polygons)) => polygons.clone(),
        Some(_) => return empty("not a polygon"),
    };
    if let Err(problem) = polygons.check_validation() {
        return (None, Some((Kind::Invalid, problem.to_string())));
    }
    // Metres from a corner of the box: coordinates of seven digits would cost half of a double's.
    let Some(bounds) = polygons.bounding_rect() else { return empty("no vertex") };
    let corner = bounds.min();
    let on_ground = polygons
        .map_coords(|c| geo::Coord { x: (c.x - corner.x) * x_m, y: (c.y - corner.y) * y_m });
    let area_m2 = on_ground.unsigned_area();
    if area_m2 <= 0.0 {
        return empty("no area");
    }
    let rings = on_ground.iter().flat_map(|p| std::iter::once(p.exterior()).chain(p.interiors()));
    let perimeter_m: f64 = rings.map(|ring| Euclidean.length(ring)).sum();
    let width_m = 2.0 * area_m2 / perimeter_m;
    let bounds = Some([corner.x, corner.y, bounds.max().x, bounds.max().y]);
    let sliver = (width_m < options.min_width_m)
        .then(|| (Kind::Sliver, format!("{width_m:.2} m wide on average, {area_m2:.1} m2")));
    (bounds, sliver)
}

/// Which features lie on the ground of others: their places, ascending.
fn check_overlaps(
    reader: &mut FeatureReader,
    pairs: &[(usize, usize)],
    options: &ValidateOptions,
    report: &mut Report,
) -> Result<Vec<usize>> {
    let mut near: HashMap<usize, Near> = HashMap::new();
    let mut wanted: Vec<usize> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let id_field = reader.field("id");
    let mut scale = LocalScale::new(reader.crs());
    let (mut place, mut next) = (0, wanted.into_iter().peekable());
    reader.each(|feature| {
        if next.next_if_eq(&place).is_some() {
            let id = id_of(&feature, id_field);
            if let Some(polygons) = feature.geometry.and_then(crate::geo::vector::polygons_of) {
                let shape = Shape::new(&polygons);
                let [x0, y0, x1, y1] = shape.bounds();
                let (x_m, y_m) = scale.at(f64::midpoint(x0, x1), f64::midpoint(y0, y1));
                near.insert(place, Near { id, shape, unit_m2: x_m * y_m });
            }
        }
        place += 1;
        Ok(())
    })?;
    let shared = |&(a, b): &(usize, usize)| {
        let (first, second) = (near.get(&a)?, near.get(&b)?);
        let area_m2 = first.shape.shared_area(&second.shape) * first.unit_m2;
        (area_m2 > options.max_overlap_m2).then_some((a, b, area_m2))
    };
    let found: Vec<(usize, usize, f64)> = pairs.par_iter().filter_map(shared).collect();
    let mut by_feature: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (a, b, area_m2) in found {
        for (one, other) in [(a, b), (b, a)] {
            let text = format!("{area_m2:.1} m2 with {}", near[&other].id);
            by_feature.entry(one).or_default().push(text);
        }
    }
    report.overlapping = by_feature.len() as u64;
    let places = by_feature.keys().copied().collect();
    report.problems.extend(by_feature.into_iter().map(|(place, others)| Problem {
        id: near[&place].id.clone(),
        problem: Kind::Overlap,
        reason: format!("shares {}", others.join(", ")),
    }));
    Ok(places)
}

/// A feature whose box overlaps another's.
struct Near {
    id: String,
    shape: Shape,
    unit_m2: f64,
}

impl Report {
    /// The counts as a line.
    pub fn line(&self) -> String {
        format!(
            "{}: {} features checked: {} invalid, {} empty, {} slivers, {} overlapping",
            self.file.display(),
            self.features,
            self.invalid,
            self.empty,
            self.slivers,
            self.overlapping,
        )
    }

    /// The counts, and the first problems, for a terminal.
    pub fn table(&self) -> String {
        if self.problems.is_empty() {
            return self.line();
        }
        let rows = self.problems.iter().take(MOST_LINES).map(|problem| {
            let kind = match problem.problem {
                Kind::Empty => "empty",
                Kind::Invalid => "invalid",
                Kind::Sliver => "sliver",
                Kind::Overlap => "overlap",
            };
            vec![problem.id.clone(), kind.to_owned(), problem.reason.clone()]
        });
        let more = match self.problems.len().saturating_sub(MOST_LINES) {
            0 => String::new(),
            more => format!("and {more} more; --json lists all\n"),
        };
        format!("{}\n{}{more}", self.line(), table(&["id", "problem", "reason"], 3, rows))
    }
}
