//! Triangles into samples: a depth buffer and a perspective camera.

use crate::synth::style::Rgb;

/// A point or vector in metres: along the car, to its left, up.
pub(super) type Vector = [f64; 3];

pub(super) fn add(a: Vector, b: Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn times(a: Vector, by: f64) -> Vector {
    a.map(|x| x * by)
}

pub(super) fn less(a: Vector, b: Vector) -> Vector {
    add(a, times(b, -1.0))
}

pub(super) fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `a` with length 1.
pub(super) fn unit(a: Vector) -> Vector {
    times(a, 1.0 / dot(a, a).sqrt().max(1e-12))
}

/// A camera that looks at the car. Picture coordinates are columns and rows, from the upper-left corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub eye: Vector,
    right: Vector,
    up: Vector,
    forward: Vector,
    /// Focal length, in whatever pixels are meant.
    pub focal_px: f64,
    /// Where the optical axis meets the picture.
    pub centre: (f64, f64),
}

impl View {
    /// From `eye` towards `target`, with a focal length of 1 and the axis at the origin.
    pub fn towards(eye: Vector, target: Vector) -> Self {
        let forward = unit(less(target, eye));
        let right = unit(cross(forward, [0.0, 0.0, 1.0]));
        let up = cross(right, forward);
        Self { eye, right, up, forward, focal_px: 1.0, centre: (0.0, 0.0) }
    }

    /// Column, row and distance along the axis.
    pub fn project(&self, point: Vector) -> (f64, f64, f64) {
        let ray = less(point, self.eye);
        let depth = dot(ray, self.forward);
        let scale = self.focal_px / depth;
        (
            self.centre.0 + dot(ray, self.right) * scale,
            self.centre.1 - dot(ray, self.up) * scale,
            depth,
        )
    }

    /// The direction in which a place of the picture is seen.
    pub fn ray(&self, (x, y): (f64, f64)) -> Vector {
        let across = times(self.right, (x - self.centre.0) / self.focal_px);
        let down = times(self.up, (self.centre.1 - y) / self.focal_px);
        unit(add(self.forward, add(across, down)))
    }
}

/// A corner of a triangle: where it is and what it looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    pub at: Vector,
    pub rgb: Rgb,
}

/// What the samples of a picture show.
pub(super) struct Samples {
    pub width: usize,
    height: usize,
    /// Distance of the nearest triangle, infinite where there is none, `[row][col]`.
    pub depth: Vec<f32>,
    /// Its colour.
    pub rgb: Vec<Rgb>,
    /// Its height above the floor, metres.
    pub height_m: Vec<f32>,
}

impl Samples {
    pub fn new(width: usize, height: usize) -> Self {
        let count = width * height;
        Self {
            width,
            height,
            depth: vec![f32::INFINITY; count],
            rgb: vec![[0.0; 3]; count],
            height_m: vec![0.0; count],
        }
    }

    /// Draws a triangle where it is nearer than what is there. `view` is in samples.
    pub fn draw(&mut self, view: &View, corners: [Corner; 3]) {
        let [a, b, c] = corners.map(|corner| view.project(corner.at));
        let area = (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0);
        if area.abs() < 1e-9 {
            return;
        }
        let range = |low: f64, high: f64, size: usize| {
            (
                (low - 0.5).ceil().max(0.0) as usize,
                ((high + 0.5).floor().max(0.0) as usize).min(size),
            )
        };
        let least =
            |pick: fn(&(f64, f64, f64)) -> f64| [a, b, c].iter().map(pick).fold(f64::MAX, f64::min);
        let most =
            |pick: fn(&(f64, f64, f64)) -> f64| [a, b, c].iter().map(pick).fold(f64::MIN, f64::max);
        let (col0, col1) = range(least(|p| p.0), most(|p| p.0), self.width);
        let (row0, row1) = range(least(|p| p.1), most(|p| p.1), self.height);
        for row in row0..row1 {
            let y = row as f64 + 0.5;
            for col in col0..col1 {
                let x = col as f64 + 0.5;
                let u = ((b.0 - x) * (c.1 - y) - (b.1 - y) * (c.0 - x)) / area;
                let v = ((c.0 - x) * (a.1 - y) - (c.1 - y) * (a.0 - x)) / area;
                let w = 1.0 - u - v;
                if u < 0.0 || v < 0.0 || w < 0.0 {
                    continue;
                }
                let depth = (1.0 / (u / a.2 + v / b.2 + w / c.2)) as f32;
                let at = row * self.width + col;
                if depth < self.depth[at] {
                    self.depth[at] = depth;
                    let mix = |of: [f32; 3]| u as f32 * of[0] + v as f32 * of[1] + w as f32 * of[2];
                    self.rgb[at] =
                        [0, 1, 2].map(|band| mix(corners.map(|corner| corner.rgb[band])));
                    self.height_m[at] = mix(corners.map(|corner| corner.at[2] as f32));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ray_leads_back_to_the_place_that_a_point_is_projected_to() {
        let mut view = View::towards([7.0, -3.0, 1.4], [0.0, 0.2, 0.6]);
        (view.focal_px, view.centre) = (500.0, (240.0, 160.0));
        for point in [[1.0, 0.5, 0.3], [-2.0, -0.7, 1.2], [0.0, 0.2, 0.6]] {
            let (x, y, depth) = view.project(point);
            let along = less(point, view.eye);
            let distance = dot(along, along).sqrt();
            assert!(depth > 0.0);
            let met = add(view.eye, times(view.ray((x, y)), distance));
            assert!(met.iter().zip(point).all(|(a, b)| (a - b).abs() < 1e-9), "{met:?}");
        }
    }

    #[test]
    fn the_nearer_triangle_hides_the_other_whatever_the_order() {
        let mut view = View::towards([5.0, 0.0, 0.0], [0.0; 3]);
        (view.focal_px, view.centre) = (20.0, (8.0, 8.0));
        let triangle = |x: f64, rgb| {
            [[x, -2.0, -2.0], [x, 2.0, -2.0], [x, 0.0, 3.0]].map(|at| Corner { at, rgb })
        };
        let (near, far) = (triangle(1.0, [1.0, 0.0, 0.0]), triangle(-1.0, [0.0, 1.0, 0.0]));
        for order in [[near, far], [far, near]] {
            let mut samples = Samples::new(16, 16);
            for corners in order {
                samples.draw(&view, corners);
            }
            assert_eq!(samples.rgb[8 * 16 + 8], [1.0, 0.0, 0.0]);
            assert!(samples.depth[0].is_infinite());
        }
    }
}
