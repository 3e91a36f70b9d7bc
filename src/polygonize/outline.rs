//! A traced component -> building outlines in the scene's CRS.

use geo::CoordsIter;

use super::attributes::measure;
use super::contour::{
    Field, along_edges, along_edges_and_bridges, along_shared_edges, through_pixels,
};
use super::mesh::{Mesh, Point};
use super::parts::{Part, Parts};
use super::patch::ScoreWindow;
use super::regularize::{Place, Regular, regularize};
use super::rings::{Ring, Rings};
use super::simplify::simplify;
use super::sweep::Traced;
use super::threshold::FULL;
use super::watershed::Rule;
use crate::config::polygonize::{OutlineForm, PolygonizeOptions};
use crate::config::regularize::Regularize;
use crate::geo::Grid;

/// A building.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// From its place alone: the same in every run and however the scene was cut.
    pub id: String,
    /// A valid polygon in the CRS of the scores (pixel coordinates where they have none); on a map the outer
    /// ring runs counter-clockwise and holes clockwise.
    pub polygon: geo::Polygon<f64>,
    /// Its area on the ground; square pixels where the scores have no georeference.
    pub area_m2: f64,
    /// Length of all its walls on the ground, courtyards included.
    pub perimeter_m: f64,
    /// Direction of its longer axis, degrees clockwise from grid north, 0..180.
    pub orientation_deg: f64,
    /// Corners of all rings.
    pub vertices: usize,
    /// How sure the scores are of it.
    pub confidence: Confidence,
    /// What its walls are.
    pub status: Status,
}

/// How far an outline has been worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Along the pixels, or through them.
    Raw,
    /// Straight walls.
    Simplified,
    /// Right angles.
    Regular,
    /// A round roof.
    Circle,
}

impl Status {
    /// As the attribute says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Simplified => "simplified",
            Self::Regular => "regular",
            Self::Circle => "circle",
        }
    }
}

/// Scores of one building, 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// Mean over its pixels.
    pub mean: f32,
    /// The lowest of its pixels.
    pub min: f32,
}

/// What became of a component.
#[derive(Default)]
pub(super) struct Finished {
    pub(super) outlines: Vec<Outline>,
    /// Buildings smaller than the least area.
    pub(super) small: usize,
    pub(super) holes_filled: usize,
}

/// All that outlines need to know of the scene and the options.
#[derive(Debug)]
pub(super) struct Finisher {
    grid: Grid,
    gsd_m: (f64, f64),
    min_area_m2: f64,
    min_width_m: f64,
    min_hole_m2: f64,
    form: OutlineForm,
    /// Whether pixels that touch by a corner are one building.
    by_corners: bool,
    /// The threshold as a score.
    level: f64,
    split: Option<Rule>,
    by_walls: bool,
    /// 0: outlines stay raw.
    tolerance_m: f64,
    regularize: Regularize,
}

/// Outlines of more vertices are those of no building, and stay simplified.
const MOST_REGULAR: usize = 200_000;

impl Finisher {
    pub(super) fn new(grid: &Grid, options: &PolygonizeOptions) -> Self {
        let gsd_m = grid.gsd_m.unwrap_or((1.0, 1.0));
        let least_m = match options.outline {
            OutlineForm::Pixel => gsd_m.0.max(gsd_m.1),
            OutlineForm::Subpixel => 0.0,
        };
        let simplified = options.simplify_m > 0.0;
        // What touches by a corner only has no wall between.
        let by_walls = options.split_wall > 0.0 && options.connectivity == 4;
        let split = (options.split_neck > 0.0 || by_walls)
            .then_some(Rule { neck: options.split_neck, min_part_m2: options.split_min_m2 });
        Self {
            grid: grid.clone(),
            gsd_m,
            min_area_m2: options.min_area_m2,
            min_width_m: options.min_width_m,
            min_hole_m2: options.min_hole_m2,
            form: options.outline,
            by_corners: options.connectivity == 8,
            level: options.threshold * f64::from(FULL),
            split,
            by_walls,
            tolerance_m: if simplified { options.simplify_m.max(least_m) } else { 0.0 },
            regularize: options.regularize,
        }
    }

    /// Whether the scores in and around components are needed.
    pub(super) fn needs_scores(&self) -> bool {
        self.split.is_some() || self.form == OutlineForm::Subpixel
    }

    /// The shorter side of a pixel.
    fn pixel_m(&self) -> f64 {
        self.gsd_m.0.min(self.gsd_m.1)
    }

    /// The scene's sides.
    fn scene_m(&self) -> Point {
        [self.grid.width as f64 * self.gsd_m.0, self.grid.height as f64 * self.gsd_m.1]
    }

    /// How far above its first pixel an outline may reach, px.
    pub(super) fn reach_px(&self) -> f64 {
        let most_m = self.regularize.rough_scale * (self.tolerance_m + self.regularize.tolerance_m);
        2.0 + 2.0 * most_m / self.gsd_m.1
    }

    /// Whether touching buildings come apart along walls, where these are known.
    pub(super) fn splits_by_walls(&self) -> bool {
        self.by_walls
    }

    /// Whether outlines stray from the pixels, so that two may overlap.
    pub(super) fn strays(&self) -> bool {
        self.tolerance_m > 0.0
    }

    /// The buildings of a component.
    pub(super) fn finish(&self, traced: &Traced) -> Finished {
        let pixel_m2 = self.gsd_m.0 * self.gsd_m.1;
        let nothing = Finished { small: 1, ..Finished::default() };
        let Some(mut rings) = Rings::new(traced) else { return nothing };
        let holes = rings.holes.len();
        rings
            .holes
            .retain(|hole| hole.area_px.unsigned_abs() as f64 * pixel_m2 >= self.min_hole_m2);
        let holes_filled = holes - rings.holes.len();
        let area_px = rings.exterior.area_px + rings.holes.iter().map(|h| h.area_px).sum::<i64>();
        // Simplifying does not double an area: what is far too small needs no outline.
        if area_px as f64 * pixel_m2 < 0.5 * self.min_area_m2 {
            return Finished { holes_filled, ..nothing };
        }
        let window = self.needs_scores().then(|| traced.patch.window()).flatten();
        let parts = window.as_ref().zip(self.split.as_ref()).and_then(|(window, rule)| {
            // What cannot fall into two large enough parts need not be tried.
            let divisible = area_px as f64 * pixel_m2 >= 2.0 * rule.min_part_m2;
            divisible.then(|| Parts::new(&rings, window, self.gsd_m, rule)).flatten()
        });
        let confidence = match &parts {
            None => vec![Confidence::new(traced.score_sum, traced.pixels, traced.score_min)],
            Some(parts) => {
                let of = |part: &Part| Confidence::new(part.score_sum, part.pixels, part.score_min);
                parts.buildings.iter().map(of).collect()
            }
        };
        let raw = self.raw(&rings, window.as_ref(), parts.as_ref());
        let Regular { mesh, status } = self.worked_out(raw);
        let mut finished = Finished { holes_filled, ..Finished::default() };
        for ((rings, confidence), status) in mesh.buildings.iter().zip(confidence).zip(status) {
            let polygon = self.place(rings.iter().map(|ring| mesh.ring_points(ring)));
            match self.outline(polygon, confidence, status) {
                Some(outline) => finished.outlines.push(outline),
                None => finished.small += 1,
            }
        }
        finished
    }

    /// Outlines as the pixels give them.
    fn raw(&self, rings: &Rings, window: Option<&ScoreWindow>, parts: Option<&Parts>) -> Mesh {
        let one = [rings.all()];
        let several: Vec<Vec<&Ring>>;
        let buildings = match parts {
            None => one.as_slice(),
            Some(parts) => {
                several = parts.buildings.iter().map(|part| part.rings.all()).collect();
                several.as_slice()
            }
        };
        match (self.form, window) {
            (OutlineForm::Subpixel, Some(window)) => {
                let labels = parts.map(|parts| parts.labels.as_slice());
                through_pixels(buildings, self.gsd_m, &Field { window, labels, level: self.level })
            }
            _ if parts.is_some() => along_shared_edges(buildings, self.gsd_m),
            _ if self.by_corners => along_edges_and_bridges(buildings, self.gsd_m),
            _ => along_edges(buildings, self.gsd_m),
        }
    }

    /// Raw outlines with straight walls, and regular where that is right.
    fn worked_out(&self, raw: Mesh) -> Regular {
        let all = |mesh: Mesh, status: Status| {
            let status = vec![status; mesh.buildings.len()];
            Regular { mesh, status }
        };
        if self.tolerance_m <= 0.0 {
            return all(raw, Status::Raw);
        }
        let simplified =
            |scale: f64| simplify(&raw, scale * self.tolerance_m, self.pixel_m(), self.scene_m());
        if !self.regularize.enabled || raw.points.len() > MOST_REGULAR {
            return all(simplified(1.0), Status::Simplified);
        }
        let place = Place { pixel_m: self.pixel_m(), scene_m: self.scene_m() };
        regularize(&raw, simplified, &self.regularize, place)
    }

    /// `None` where it is too small or too narrow.
    pub(super) fn outline(
        &self,
        polygon: geo::Polygon<f64>,
        confidence: Confidence,
        status: Status,
    ) -> Option<Outline> {
        let measures = measure(&polygon, &self.grid)?;
        let too_narrow = 2.0 * measures.area_m2 < self.min_width_m * measures.perimeter_m;
        if measures.area_m2 < self.min_area_m2 || too_narrow {
            return None;
        }
        let rings = 1 + polygon.interiors().len();
        Some(Outline {
            id: measures.id,
            area_m2: measures.area_m2,
            perimeter_m: measures.perimeter_m,
            orientation_deg: measures.orientation_deg,
            // Each ring's first corner is written twice.
            vertices: polygon.coords_count() - rings,
            confidence,
            status,
            polygon,
        })
    }

    /// From metres in the scene to the CRS.
    fn place(&self, rings: impl Iterator<Item = Vec<Point>>) -> geo::Polygon<f64> {
        let g = &self.grid.transform.0;
        // Rows run down: on a map that is not mirrored, rings keep the direction they have on a screen.
        let mirrored = g[1] * g[5] - g[2] * g[4] > 0.0;
        let mut rings = rings.map(|ring| {
            let mut coords: Vec<geo::Coord<f64>> = ring
                .into_iter()
                .map(|[x, y]| {
                    let (x, y) = self.grid.transform.apply(x / self.gsd_m.0, y / self.gsd_m.1);
                    geo::Coord { x, y }
                })
                .collect();
            if mirrored {
                coords.reverse();
            }
            geo::LineString(coords)
        });
        let exterior = rings.next().unwrap_or_else(|| geo::LineString(Vec::new()));
        // Closes the rings.
        geo::Polygon::new(exterior, rings.collect())
    }
}

impl Confidence {
    fn new(score_sum: u64, pixels: u64, score_min: u8) -> Self {
        let mean = score_sum as f64 / (pixels.max(1) as f64 * f64::from(FULL));
        Self { mean: mean as f32, min: f32::from(score_min) / f32::from(FULL) }
    }
}
