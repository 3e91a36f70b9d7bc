//! Round roofs.

use std::f64::consts::TAU;

use super::super::conflicts::doubled_area;
use super::super::mesh::Point;

/// A roof may be round where its outline strays from a circle by this part of the radius at most, on average; squares do by a
/// tenth.
const MAX_DEVIATION: f64 = 0.04;
/// Below this radius pixels cannot tell a circle from a square.
const MIN_RADIUS_PX: f64 = 5.0;
/// A polygon of so many vertices strays from its circle by 0.5 % of the radius.
const VERTICES: usize = 32;

/// The circle of the same area and middle, as a ring that runs like `outline`, if that is nearly one.
pub(super) fn circle(outline: &[Point], pixel_m: f64) -> Option<Vec<Point>> {
    let doubled = doubled_area(outline);
    let radius = (doubled.abs() / TAU).sqrt();
    if radius < MIN_RADIUS_PX * pixel_m {
        return None;
    }
    let middle = centroid(outline, doubled);
    let edges = || outline.iter().zip(outline.iter().cycle().skip(1));
    // No `hypot`: metres neither overflow nor vanish when squared.
    let length = |a: &Point, b: &Point| ((b[0] - a[0]).powi(2) + (b[1] - a[1]).powi(2)).sqrt();
    let astray = |a: &Point, b: &Point| {
        let between = [f64::midpoint(a[0], b[0]), f64::midpoint(a[1], b[1])];
        (length(&between, &middle) - radius).abs()
    };
    let perimeter: f64 = edges().map(|(a, b)| length(a, b)).sum();
    let deviation: f64 = edges().map(|(a, b)| length(a, b) * astray(a, b)).sum();
    if deviation > MAX_DEVIATION * radius * perimeter {
        return None;
    }
    // The polygon, not the circle around it, has the area.
    let step = TAU / VERTICES as f64;
    let reach = (doubled.abs() / (VERTICES as f64 * step.sin())).sqrt();
    let at = |i: usize| {
        let (sine, cosine) = (doubled.signum() * step * i as f64).sin_cos();
        [middle[0] + reach * cosine, middle[1] + reach * sine]
    };
    Some((0..VERTICES).map(at).collect())
}

fn centroid(outline: &[Point], doubled: f64) -> Point {
    let origin = outline[0];
    let relative = |p: &Point| [p[0] - origin[0], p[1] - origin[1]];
    let mut sum = [0.0; 2];
    for (a, b) in outline.iter().zip(outline.iter().cycle().skip(1)) {
        let (a, b) = (relative(a), relative(b));
        let cross = a[0] * b[1] - a[1] * b[0];
        sum = [sum[0] + (a[0] + b[0]) * cross, sum[1] + (a[1] + b[1]) * cross];
    }
    [0, 1].map(|axis| origin[axis] + sum[axis] / (3.0 * doubled))
}
