//! Buildings to make regular, and what is asked of the result.

use std::f64::consts::{FRAC_PI_2, TAU};

use geo::{Area, BooleanOps, Polygon, Validation};
use proptest::prelude::*;

use super::super::*;

/// A scene far larger than any plan.
pub(super) const PLACE: Place = Place { pixel_m: 0.3, scene_m: [1000.0; 2] };

/// Plans have their origin here, in the middle of the scene.
pub(super) const ORIGIN: Point = [500.0; 2];

/// Rings of a building, the outer one first.
pub(super) type Rings = Vec<Vec<Point>>;

pub(super) fn polygon(rings: &Rings) -> Polygon<f64> {
    let line = |ring: &Vec<Point>| ring.clone().into();
    Polygon::new(line(&rings[0]), rings[1..].iter().map(line).collect())
}

pub(super) fn rings_of(mesh: &Mesh, building: usize) -> Rings {
    let ring = |ring: &Ring| ring.iter().map(|&v| mesh.points[v as usize]).collect();
    mesh.buildings[building].iter().map(ring).collect()
}

pub(super) fn polygons(mesh: &Mesh) -> Vec<Polygon<f64>> {
    (0..mesh.buildings.len()).map(|building| polygon(&rings_of(mesh, building))).collect()
}

/// A mesh of plans in which equal points are one vertex.
pub(super) fn mesh(buildings: &[Rings]) -> Mesh {
    let mut points: Vec<Point> = Vec::new();
    let mut vertex = |p: &Point| {
        points.iter().position(|q| q == p).unwrap_or_else(|| {
            points.push(*p);
            points.len() - 1
        }) as u32
    };
    let buildings = buildings
        .iter()
        .map(|rings| rings.iter().map(|ring| ring.iter().map(&mut vertex).collect()).collect())
        .collect();
    for p in &mut points {
        *p = [p[0] + ORIGIN[0], p[1] + ORIGIN[1]];
    }
    Mesh { points, buildings }
}

/// Every vertex turned around the origin of plans, and moved by its part of `jitter` times `noise_m`.
pub(super) fn disturbed(mesh: &Mesh, angle: f64, jitter: &[(f64, f64)], noise_m: f64) -> Mesh {
    let (sine, cosine) = angle.sin_cos();
    let moved = mesh.points.iter().enumerate().map(|(i, p)| {
        let (dx, dy) = jitter[i % jitter.len()];
        let (x, y) = (p[0] - ORIGIN[0] + noise_m * dx, p[1] - ORIGIN[1] + noise_m * dy);
        [cosine * x - sine * y + ORIGIN[0], sine * x + cosine * y + ORIGIN[1]]
    });
    Mesh { points: moved.collect(), buildings: mesh.buildings.clone() }
}

pub(super) fn run(simple: &Mesh) -> Regular {
    made(simple, simple, &Regularize::default())
}

/// Made regular from an outline that is simple, whatever the tolerance.
pub(super) fn made(simple: &Mesh, traced: &Mesh, options: &Regularize) -> Regular {
    regularize(traced, |_| simple.clone(), options, PLACE)
}

pub(super) fn rectangle(w: f64, h: f64) -> Rings {
    vec![vec![[0.0, 0.0], [0.0, h], [w, h], [w, 0.0]]]
}

/// A rectangle, an L, a T, a U or a courtyard, about 20 m x 14 m times `size`.
pub(super) fn plan(kind: usize, size: f64) -> Rings {
    let outer: &[Point] = match kind {
        0 | 4 => &[[0., 0.], [0., 14.], [20., 14.], [20., 0.]],
        1 => &[[0., 0.], [0., 14.], [8., 14.], [8., 6.], [20., 6.], [20., 0.]],
        2 => {
            &[[0., 0.], [0., 6.], [7., 6.], [7., 14.], [13., 14.], [13., 6.], [20., 6.], [20., 0.]]
        }
        _ => &[
            [0., 0.],
            [0., 14.],
            [6., 14.],
            [6., 5.],
            [14., 5.],
            [14., 14.],
            [20., 14.],
            [20., 0.],
        ],
    };
    let mut rings = vec![outer.to_vec()];
    if kind == 4 {
        rings.push(vec![[6., 5.], [14., 5.], [14., 9.], [6., 9.]]);
    }
    let scale = |p: &mut Point| *p = p.map(|x| x * size);
    rings.iter_mut().flatten().for_each(scale);
    rings
}

/// Houses wall to wall, each given by width, the place of its front and its depth.
pub(super) fn row(houses: &[(f64, f64, f64)]) -> Mesh {
    let mut x = 0.0;
    let mut buildings = Vec::new();
    for (i, &(width, front, depth)) in houses.iter().enumerate() {
        let back = front + depth;
        // Corners of the neighbour on the wall are vertices of both.
        let wall = |x: f64, neighbour: Option<&(f64, f64, f64)>| -> Vec<Point> {
            let theirs = neighbour.map_or(vec![], |n| vec![n.1, n.1 + n.2]);
            let mut rows = vec![front, back];
            rows.extend(theirs.into_iter().filter(|y| (front..back).contains(y) && *y != front));
            rows.sort_by(f64::total_cmp);
            rows.into_iter().map(|y| [x, y]).collect()
        };
        let mut ring = wall(x, i.checked_sub(1).and_then(|before| houses.get(before)));
        x += width;
        ring.extend(wall(x, houses.get(i + 1)).into_iter().rev());
        buildings.push(vec![ring]);
    }
    mesh(&buildings)
}

/// The rectangle 0, 0 to `w`, `h` with a vertex every `step` metres, waving by `height` once in `wave` metres.
pub(super) fn waving(w: f64, h: f64, step: f64, wave: f64, height: f64) -> Mesh {
    let mut ring = Vec::new();
    let corners = [[0., 0.], [0., h], [w, h], [w, 0.]];
    for (i, a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % 4];
        let length = (b[0] - a[0]).abs() + (b[1] - a[1]).abs();
        let along = [0, 1].map(|axis| (b[axis] - a[axis]) / length);
        for k in 0..(length / step).round() as usize {
            let at = k as f64 * step;
            let off = height * (TAU * at / wave).sin();
            ring.push([
                a[0] + at * along[0] - off * along[1],
                a[1] + at * along[1] + off * along[0],
            ]);
        }
    }
    mesh(&[vec![ring]])
}

/// Angles, in radians, by which corners differ from right or straight ones.
pub(super) fn corners(polygon: &Polygon<f64>) -> Vec<f64> {
    let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
    let mut off = Vec::new();
    for ring in rings {
        let lines: Vec<_> = ring.lines().collect();
        for (i, a) in lines.iter().enumerate() {
            let b = lines[(i + 1) % lines.len()];
            let turn = b.dy().atan2(b.dx()) - a.dy().atan2(a.dx());
            let turn = turn.rem_euclid(FRAC_PI_2);
            off.push(turn.min(FRAC_PI_2 - turn));
        }
    }
    off
}

pub(super) fn worst_corner(polygon: &Polygon<f64>) -> f64 {
    corners(polygon).into_iter().fold(0.0, f64::max)
}

pub(super) fn iou(a: &Polygon<f64>, b: &Polygon<f64>) -> f64 {
    let shared = a.intersection(b).unsigned_area();
    shared / (a.unsigned_area() + b.unsigned_area() - shared)
}

/// Every building is valid, and none overlaps another.
pub(super) fn check(mesh: &Mesh) -> Result<(), TestCaseError> {
    let polygons = polygons(mesh);
    for (i, a) in polygons.iter().enumerate() {
        prop_assert!(a.is_valid(), "building {i} is invalid: {a:?}");
        for b in &polygons[i + 1..] {
            let shared = a.intersection(b).unsigned_area();
            prop_assert!(shared < 1e-6, "{shared} m2 belong to two buildings");
        }
    }
    Ok(())
}

pub(super) fn jitter(count: usize) -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64), count)
}
