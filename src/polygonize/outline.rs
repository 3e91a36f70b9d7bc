//! A traced component -> a building outline in the scene's CRS.

use std::cell::RefCell;
use std::collections::HashMap;

use geo::{Area, BoundingRect};

use super::rings::{Ring, Rings};
use super::simplify::{Point, RawRing, simplify};
use super::sweep::Traced;
use super::threshold::FULL;
use crate::config::polygonize::PolygonizeOptions;
use crate::geo::measure::AreaMeter;
use crate::geo::{Crs, Grid};

/// A building.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    /// A valid polygon in the CRS of the scores (pixel coordinates where they have none); on a map the outer
    /// ring runs counter-clockwise and holes clockwise.
    pub polygon: geo::Polygon<f64>,
    /// Its area on the ground; square pixels where the scores have no georeference.
    pub area_m2: f64,
    /// Mean score of its pixels, 0..=1.
    pub confidence: f32,
}

/// What became of a component.
pub(super) enum Outcome {
    Building(Outline),
    /// Smaller than the least area.
    Small,
}

/// All that outlines need to know of the scene and the options.
#[derive(Debug)]
pub(super) struct Finisher {
    grid: Grid,
    gsd_m: (f64, f64),
    min_area_m2: f64,
    min_hole_m2: f64,
    /// 0: outlines follow pixel edges.
    tolerance_m: f64,
}

impl Finisher {
    pub(super) fn new(grid: &Grid, options: &PolygonizeOptions) -> Self {
        let gsd_m = grid.gsd_m.unwrap_or((1.0, 1.0));
        let tolerance_m = match options.simplify_m {
            tolerance if tolerance > 0.0 => tolerance.max(gsd_m.0.max(gsd_m.1)),
            _ => 0.0,
        };
        let (min_area_m2, min_hole_m2) = (options.min_area_m2, options.min_hole_m2);
        Self { grid: grid.clone(), gsd_m, min_area_m2, min_hole_m2, tolerance_m }
    }

    /// The outline of a component, and how many of its holes were filled.
    pub(super) fn outline(&self, traced: &Traced) -> (Outcome, usize) {
        let pixel_m2 = self.gsd_m.0 * self.gsd_m.1;
        let Some(mut rings) = Rings::new(traced) else { return (Outcome::Small, 0) };
        let holes = rings.holes.len();
        rings
            .holes
            .retain(|hole| hole.area_px.unsigned_abs() as f64 * pixel_m2 >= self.min_hole_m2);
        let filled = holes - rings.holes.len();
        let area_px = rings.exterior.area_px + rings.holes.iter().map(|h| h.area_px).sum::<i64>();
        // Simplifying does not double an area: what is far too small needs no outline.
        if area_px as f64 * pixel_m2 < 0.5 * self.min_area_m2 {
            return (Outcome::Small, filled);
        }
        let polygon = self.place(self.simplified(&rings));
        let area_m2 = self.area_m2(&polygon);
        if area_m2 < self.min_area_m2 {
            return (Outcome::Small, filled);
        }
        let confidence = traced.score_sum as f64 / (traced.pixels as f64 * f64::from(FULL));
        (Outcome::Building(Outline { polygon, area_m2, confidence: confidence as f32 }), filled)
    }

    /// Rings in metres, the outer one first.
    fn simplified(&self, rings: &Rings) -> Vec<Vec<Point>> {
        let all = || std::iter::once(&rings.exterior).chain(&rings.holes);
        let metres = |ring: &Ring| -> Vec<Point> {
            let corners = ring.corners.iter();
            corners
                .map(|c| [f64::from(c.col) * self.gsd_m.0, f64::from(c.row) * self.gsd_m.1])
                .collect()
        };
        if self.tolerance_m <= 0.0 {
            return all().map(metres).collect();
        }
        let mut visits: HashMap<(u32, u32), u32> = HashMap::new();
        for corner in all().flat_map(|ring| &ring.corners).filter(|corner| corner.pinch) {
            *visits.entry((corner.col, corner.row)).or_default() += 1;
        }
        let raw: Vec<RawRing> = all()
            .map(|ring| {
                let pinned = ring.corners.iter().map(|corner| {
                    corner.pinch && visits.get(&(corner.col, corner.row)).is_some_and(|n| *n > 1)
                });
                RawRing { points: metres(ring), pinned: pinned.collect() }
            })
            .collect();
        simplify(&raw, self.tolerance_m, self.gsd_m.0.min(self.gsd_m.1))
    }

    /// From metres in the scene to the CRS.
    fn place(&self, rings: Vec<Vec<Point>>) -> geo::Polygon<f64> {
        let g = &self.grid.transform.0;
        // Rows run down: on a map that is not mirrored, rings keep the direction they have on a screen.
        let mirrored = g[1] * g[5] - g[2] * g[4] > 0.0;
        let mut rings = rings.into_iter().map(|ring| {
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

    /// Area on the ellipsoid: the planar area times the ground area of a CRS unit at the polygon's middle.
    /// That scale is geodesic; across a building it changes by less than 1e-6, and one square costs far less
    /// than all vertices of an outline.
    fn area_m2(&self, polygon: &geo::Polygon<f64>) -> f64 {
        let Some(bounds) = polygon.bounding_rect() else { return 0.0 };
        let g = &self.grid.transform.0;
        let half = |a: f64, b: f64| 0.5 * SCALE_SQUARE_PX * (a.abs() + b.abs());
        let (dx, dy) = (half(g[1], g[2]), half(g[4], g[5]));
        let geo::Coord { x, y } = bounds.center();
        let square = geo::Rect::new((x - dx, y - dy), (x + dx, y + dy)).to_polygon();
        polygon.unsigned_area() * self.geodesic_area_m2(&square) / square.unsigned_area()
    }

    fn geodesic_area_m2(&self, polygon: &geo::Polygon<f64>) -> f64 {
        // A meter is costly to make and belongs to a thread.
        thread_local! {
            static METER: RefCell<Option<(Option<Crs>, AreaMeter)>> = const { RefCell::new(None) };
        }
        METER.with_borrow_mut(|meter| {
            let crs = &self.grid.crs;
            let kept = meter.take().filter(|(of, _)| of == crs);
            let (of, made) = kept.unwrap_or_else(|| {
                let middle = (self.grid.width as f64 / 2.0, self.grid.height as f64 / 2.0);
                let (x, y) = self.grid.transform.apply(middle.0, middle.1);
                (crs.clone(), AreaMeter::new(crs.as_ref(), x, y))
            });
            let area = made.area_m2(polygon);
            *meter = Some((of, made));
            area
        })
    }
}

/// Side of the square whose ground area is measured: large against rounding, small against the Earth.
const SCALE_SQUARE_PX: f64 = 64.0;
