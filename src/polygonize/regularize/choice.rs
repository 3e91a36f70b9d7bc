//! Which of several drawings of a component is taken.
//!
//! Schwarz's criterion (1978, "Estimating the Dimension of a Model", Annals of Statistics 6(2)): a number that a drawing is free to
//! choose must pay for itself by what it explains of the traced outline. How rough an outline is need not be known: where every
//! drawing is far off, corners explain little, and where one fits closely, they explain much.

use super::super::mesh::{Mesh, Point, Ring};
use super::Drawing;
use super::gate::shape;
use crate::geo::overlap::Shape;

/// Metres of outline that go astray together, and tell one thing. Traced outlines are off the truth on the same side for 2.3 m
/// where scores are as clean as can be, and for 7 to 13 m where networks err.
const PIECE_M: f64 = 4.0;

/// The cosine of a corner that is as good as right.
const RIGHT: f64 = 1e-6;

/// A component as it was traced.
pub(super) struct Evidence {
    /// Of each building.
    pub(super) shapes: Vec<Shape>,
    /// Pieces of outline that tell something of their own.
    pieces: f64,
}

impl Evidence {
    /// `simple` measures the outlines: there, stair steps and wobbles are no longer walls.
    pub(super) fn new(traced: &Mesh, simple: &Mesh) -> Self {
        let shapes = traced.buildings.iter().map(|rings| shape(&traced.points, rings)).collect();
        let length = |[_, at, to]: [Point; 3]| (to[0] - at[0]).hypot(to[1] - at[1]);
        let metres: f64 = rings(simple).flat_map(|ring| corners(simple, ring)).map(length).sum();
        Self { shapes, pieces: (metres / PIECE_M).max(1.0) }
    }

    /// The drawing that costs least; of several such, the first.
    pub(super) fn best(&self, first: Drawing, others: impl Iterator<Item = Drawing>) -> Drawing {
        let mut others = others.peekable();
        if others.peek().is_none() {
            return first;
        }
        let mut best = (self.cost(&first), first);
        for drawing in others {
            let cost = self.cost(&drawing);
            if cost < best.0 {
                best = (cost, drawing);
            }
        }
        best.1
    }

    fn cost(&self, drawing: &Drawing) -> f64 {
        let mesh = &drawing.regular.mesh;
        let numbers: usize = rings(mesh).map(|ring| free_numbers(mesh, ring)).sum();
        let astray_m2 = drawing.astray_m2.unwrap_or_else(|| self.astray_m2(mesh));
        let misfit = self.pieces * astray_m2.max(f64::MIN_POSITIVE).ln();
        misfit + 0.5 * numbers as f64 * self.pieces.ln()
    }

    fn astray_m2(&self, drawn: &Mesh) -> f64 {
        let astray = |(rings, traced): (&Vec<Ring>, &Shape)| {
            let drawn = shape(&drawn.points, rings);
            drawn.area() + traced.area() - 2.0 * drawn.shared_area(traced)
        };
        drawn.buildings.iter().zip(&self.shapes).map(astray).sum()
    }
}

/// Whether no corner is anything but right.
pub(super) fn has_right_angles_only(mesh: &Mesh) -> bool {
    rings(mesh).all(|ring| corners(mesh, ring).all(is_right))
}

/// Numbers that a ring is free to choose: two for every corner, less one for every right angle. The last of a ring that has no others
/// follows from these.
fn free_numbers(mesh: &Mesh, ring: &[u32]) -> usize {
    let right = corners(mesh, ring).filter(|corner| is_right(*corner)).count();
    2 * ring.len() - right.min(ring.len() - 1)
}

fn is_right([before, at, after]: [Point; 3]) -> bool {
    let [a, b] = [before, after].map(|p| [p[0] - at[0], p[1] - at[1]]);
    let lengths = a[0].hypot(a[1]) * b[0].hypot(b[1]);
    (a[0] * b[0] + a[1] * b[1]).abs() <= RIGHT * lengths
}

fn rings(mesh: &Mesh) -> impl Iterator<Item = &Ring> {
    mesh.buildings.iter().flatten()
}

/// Every vertex of a ring between the one before and the one after it.
fn corners(mesh: &Mesh, ring: &[u32]) -> impl Iterator<Item = [Point; 3]> {
    let n = ring.len();
    (0..n).map(move |i| [i + n - 1, i, i + 1].map(|k| mesh.points[ring[k % n] as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::polygonize::outline::Status;
    use crate::polygonize::regularize::Regular;

    fn drawing(ring: &[Point], astray_m2: Option<f64>) -> Drawing {
        let buildings = vec![vec![(0..ring.len() as u32).collect()]];
        let mesh = Mesh { points: ring.to_vec(), buildings };
        Drawing { regular: Regular { mesh, status: vec![Status::Regular] }, astray_m2 }
    }

    const SQUARE: [Point; 4] = [[0., 0.], [0., 10.], [10., 10.], [10., 0.]];
    const CUT: [Point; 5] = [[0., 0.], [0., 10.], [9., 10.], [10., 9.], [10., 0.]];

    #[test]
    fn right_angles_choose_less() {
        let numbers = |ring: &[Point]| {
            let mesh = drawing(ring, None).regular.mesh;
            free_numbers(&mesh, &mesh.buildings[0][0])
        };
        // Place, size and direction.
        assert_eq!(numbers(&SQUARE), 5);
        assert_eq!(numbers(&CUT), 7);
        assert_eq!(numbers(&[[0., 0.], [2., 9.], [8., 7.]]), 6);
        assert!(has_right_angles_only(&drawing(&SQUARE, None).regular.mesh));
        assert!(!has_right_angles_only(&drawing(&CUT, None).regular.mesh));
    }

    #[test]
    fn a_corner_must_pay_for_itself() {
        let traced = drawing(&SQUARE, None).regular.mesh;
        let evidence = Evidence::new(&traced, &traced);
        assert_eq!(evidence.pieces, 10.0);
        // Two numbers more cost ln 10: ten pieces must fit better by a tenth of that each.
        let worth = (0.1 * 10_f64.ln()).exp();
        let corners = |square_m2: f64, cut_m2: f64| {
            let others = std::iter::once(drawing(&SQUARE, Some(square_m2)));
            let best = evidence.best(drawing(&CUT, Some(cut_m2)), others);
            best.regular.mesh.points.len()
        };
        assert_eq!((corners(5.0 * worth + 0.01, 5.0), corners(5.0 * worth - 0.01, 5.0)), (5, 4));
        assert_eq!((corners(1.0 * worth + 0.01, 1.0), corners(1.0 * worth - 0.01, 1.0)), (5, 4));
    }

    #[test]
    fn what_has_not_been_compared_is_compared() {
        let square = drawing(&SQUARE, None);
        let evidence = Evidence::new(&square.regular.mesh, &square.regular.mesh);
        assert!((evidence.astray_m2(&drawing(&CUT, None).regular.mesh) - 0.5).abs() < 1e-9);
        let known = evidence.cost(&drawing(&CUT, Some(0.5)));
        assert!((evidence.cost(&drawing(&CUT, None)) - known).abs() < 1e-6);
    }
}
