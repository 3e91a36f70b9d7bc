//! Labels that depend on a distance in metres: boundaries and contacts.
//!
//! Distances are measured from pixel centres to footprint edges in a local plane: scene pixels times
//! their ground size along each axis, so that geographic and stretched pixels come out right.

use geo::{LinesIter, MultiPolygon};
use rstar::RTree;

use super::{BACKGROUND, BOUNDARY, BUILDING, Boxed, CONTACT, View, bounds, envelope};

/// Relabels building pixels whose centre is at most `reach_m` from an edge of `shape`.
pub(super) fn mark_boundary(
    labels: &mut [u8],
    shape: &MultiPolygon<f64>,
    view: &View,
    gsd_m: (f64, f64),
    reach_m: f64,
) {
    let reach = (reach_m / gsd_m.0, reach_m / gsd_m.1);
    for line in shape.lines_iter() {
        let edge = [line.start.x, line.start.y, line.end.x, line.end.y];
        let around = [
            edge[0].min(edge[2]) - reach.0,
            edge[1].min(edge[3]) - reach.1,
            edge[0].max(edge[2]) + reach.0,
            edge[1].max(edge[3]) + reach.1,
        ];
        for_each_pixel(view, around, |at, (x, y)| {
            if labels[at] == BUILDING && distance2(x, y, edge, gsd_m) <= reach_m * reach_m {
                labels[at] = BOUNDARY;
            }
        });
    }
}

/// Pairs of buildings at most `contact_m` apart, and for each pair the box (scene pixels) that holds
/// every point whose distances to both add up to `contact_m`.
pub(super) fn near_pairs(
    buildings: &[MultiPolygon<f64>],
    index: &RTree<Boxed>,
    gsd_m: (f64, f64),
    contact_m: f64,
) -> (Vec<(usize, usize)>, Vec<[f64; 4]>) {
    let reach = (contact_m / gsd_m.0, contact_m / gsd_m.1);
    let grown = |shape| {
        bounds(shape)
            .map(|[x0, y0, x1, y1]| [x0 - reach.0, y0 - reach.1, x1 + reach.0, y1 + reach.1])
    };
    let mut pairs = Vec::new();
    for (a, shape) in buildings.iter().enumerate() {
        let Some(around) = grown(shape) else { continue };
        for found in index.locate_in_envelope_intersecting(&envelope(around)) {
            let b = found.data;
            if b <= a || gap2(shape, &buildings[b], gsd_m) > contact_m * contact_m {
                continue;
            }
            let Some(other) = grown(&buildings[b]) else { continue };
            let region = [
                around[0].max(other[0]),
                around[1].max(other[1]),
                around[2].min(other[2]),
                around[3].min(other[3]),
            ];
            pairs.push(((a, b), region));
        }
    }
    pairs.sort_by_key(|(pair, _)| *pair);
    pairs.into_iter().unzip()
}

/// Relabels background pixels whose distances to both buildings add up to at most `contact_m`: all of
/// a gap that is that narrow, and little beside it.
pub(super) fn mark_contact(
    labels: &mut [u8],
    (a, b): (&MultiPolygon<f64>, &MultiPolygon<f64>),
    region: [f64; 4],
    view: &View,
    gsd_m: (f64, f64),
    contact_m: f64,
) {
    let to = |shape: &MultiPolygon<f64>, x: f64, y: f64| {
        let squared = shape
            .lines_iter()
            .map(|line| {
                distance2(x, y, [line.start.x, line.start.y, line.end.x, line.end.y], gsd_m)
            })
            .fold(f64::INFINITY, f64::min);
        squared.sqrt()
    };
    for_each_pixel(view, region, |at, (x, y)| {
        if labels[at] != BACKGROUND {
            return;
        }
        let left = contact_m - to(a, x, y);
        if left >= 0.0 && to(b, x, y) <= left {
            labels[at] = CONTACT;
        }
    });
}

/// Calls `f` with place and centre (scene pixels) of every pixel of the window whose centre may lie in
/// `rect` (scene pixels).
fn for_each_pixel(view: &View, rect: [f64; 4], mut f: impl FnMut(usize, (f64, f64))) {
    let (width, height) = (view.window.width, view.window.height);
    let (c0, r0) = view.to_window(rect[0], rect[1]);
    let (c1, r1) = view.to_window(rect[2], rect[3]);
    let clip = |value: f64, end: usize| value.clamp(0.0, end as f64) as usize;
    for row in clip(r0.floor(), height)..clip(r1.ceil(), height) {
        for col in clip(c0.floor(), width)..clip(c1.ceil(), width) {
            f(row * width + col, view.centre(col, row));
        }
    }
}

/// Squared distance in metres of a point from an edge `[x0, y0, x1, y1]`, all in scene pixels.
fn distance2(x: f64, y: f64, [x0, y0, x1, y1]: [f64; 4], (mx, my): (f64, f64)) -> f64 {
    let (dx, dy) = ((x1 - x0) * mx, (y1 - y0) * my);
    let (px, py) = ((x - x0) * mx, (y - y0) * my);
    let length2 = dx * dx + dy * dy;
    let t = if length2 > 0.0 { ((px * dx + py * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
    let (ex, ey) = (px - t * dx, py - t * dy);
    ex * ex + ey * ey
}

/// Squared gap in metres between two shapes; 0 where they touch.
fn gap2(a: &MultiPolygon<f64>, b: &MultiPolygon<f64>, gsd_m: (f64, f64)) -> f64 {
    use geo::Intersects;
    if a.intersects(b) {
        return 0.0;
    }
    // Apart, the nearest points include a vertex of one of the two.
    let from_vertices = |from: &MultiPolygon<f64>, to: &MultiPolygon<f64>| {
        let mut nearest = f64::INFINITY;
        for vertex in from.lines_iter() {
            for line in to.lines_iter() {
                let edge = [line.start.x, line.start.y, line.end.x, line.end.y];
                nearest = nearest.min(distance2(vertex.start.x, vertex.start.y, edge, gsd_m));
            }
        }
        nearest
    };
    from_vertices(a, b).min(from_vertices(b, a))
}
