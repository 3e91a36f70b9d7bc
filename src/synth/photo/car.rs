//! A car: a body lofted over stations from tail to nose, a cabin of glass, wheels, lamps, mirrors.

use super::raster::{Corner, Vector, add, cross, dot, less, times, unit};
use crate::synth::hash::Rng;
use crate::synth::style::{Rgb, blend, scaled};

/// What a face is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Material {
    Paint,
    Glass,
    Rubber,
    Rim,
    Trim,
    Lamp(Rgb),
}

/// A convex polygon in the car's metres: x forward, y to the left, z up from the floor.
struct Face {
    corners: Vec<Vector>,
    material: Material,
}

/// A car, standing on the floor with its middle at the origin.
pub(super) struct Car {
    faces: Vec<Face>,
    /// The colour of its body.
    pub paint: Rgb,
    pub length_m: f64,
    pub width_m: f64,
}

/// Kinds of bodies: length, width and height in metres; the tail's height; then, as shares of the length from the tail, where
/// the rear screen begins and the roof, where the roof ends and the windscreen.
const BODIES: [[f64; 8]; 6] = [
    [4.6, 1.82, 1.44, 1.00, 0.16, 0.32, 0.60, 0.76], // saloon
    [4.0, 1.74, 1.48, 0.98, 0.03, 0.14, 0.58, 0.75], // hatchback
    [4.6, 1.88, 1.70, 1.08, 0.03, 0.09, 0.60, 0.74], // estate on high wheels
    [4.9, 1.92, 1.95, 1.12, 0.01, 0.04, 0.72, 0.87], // van
    [4.4, 1.84, 1.28, 0.92, 0.08, 0.40, 0.57, 0.75], // coupé
    [5.2, 1.90, 1.75, 1.06, 0.40, 0.43, 0.62, 0.75], // pickup
];

/// Height of the body's lower edge, metres.
const SILL_M: f64 = 0.22;
/// Glass and lamps lie this far before what they are set into, metres, so that they hide it.
const BEFORE_M: f64 = 0.006;

/// A cross-section of the body.
struct Station {
    x: f64,
    /// Half its width at the belt line.
    half_m: f64,
    belt_m: f64,
    /// The roof's height; that of the belt line where there is no cabin.
    roof_m: f64,
}

impl Station {
    /// The outline of one side, from the sill to the roof.
    fn side(&self, sign: f64) -> [Vector; 5] {
        let rise = self.roof_m - self.belt_m;
        // Cabins lean inwards by a quarter of their height.
        let level = |half: f64, z: f64| [self.x, sign * half, z];
        [
            level(self.half_m * 0.94, SILL_M),
            level(self.half_m, f64::midpoint(SILL_M, self.belt_m)),
            level(self.half_m * 0.97, self.belt_m),
            level(self.half_m * 0.97 - rise * 0.22, self.belt_m + rise * 0.86),
            level(self.half_m * 0.97 - rise * 0.30, self.roof_m),
        ]
    }
}

impl Car {
    /// Draws a car by lot, painted as it comes.
    pub fn draw(rng: &mut Rng) -> Self {
        let body = rng.pick(&BODIES);
        let mut vary = |value: f64, by: f64| value * rng.range(1.0 - by, 1.0 + by);
        let (length, width, height) =
            (vary(body[0], 0.04), vary(body[1], 0.02), vary(body[2], 0.04));
        let (tail, hood) = (vary(body[3], 0.04), vary(0.55 * body[3] + 0.37, 0.04));
        let [rear, roof, front, screen] =
            [body[4], body[5], body[6], body[7]].map(|share| share + rng.range(-0.01, 0.01));
        let middle = f64::midpoint(roof, front) + rng.range(-0.03, 0.03);
        let station = |share: f64, narrow: f64, belt_m: f64, roof_m: f64| Station {
            x: (share - 0.5) * length,
            half_m: width / 2.0 * narrow,
            belt_m,
            roof_m: roof_m.max(belt_m),
        };
        let stations = [
            station(0.0, 0.86, tail * 0.72, 0.0),
            station(0.02, 0.95, tail * 0.97, 0.0),
            station(rear.max(0.03), 0.98, tail, 0.0),
            station(roof.max(0.05), 1.0, tail * 0.99, height * 0.97),
            station(middle, 1.0, tail * 0.97, height),
            station(front, 1.0, tail * 0.96, height * 0.98),
            station(screen, 1.0, hood.max(tail * 0.94), 0.0),
            station(0.965, 0.94, hood * 0.86, 0.0),
            station(1.0, 0.82, hood * 0.74, 0.0),
        ];
        let mut car =
            Self { faces: Vec::new(), paint: paint(rng), length_m: length, width_m: width };
        car.add_body(&stations);
        car.add_ends(&stations);
        let radius = 0.3 + 0.05 * (height - 1.28) + rng.range(0.0, 0.03);
        for share in [0.19, 0.81] {
            for sign in [-1.0, 1.0] {
                car.add_wheel((share - 0.5) * length, sign * width / 2.0, radius);
            }
        }
        for sign in [-1.0, 1.0] {
            let at = [stations[6].x - 0.15, sign * (width / 2.0 + 0.09), tail + 0.06];
            car.add_box(
                at,
                [0.10, 0.10, 0.08],
                if rng.chance(0.5) { Material::Paint } else { Material::Trim },
            );
        }
        car
    }

    fn face(&mut self, corners: impl Into<Vec<Vector>>, material: Material) {
        self.faces.push(Face { corners: corners.into(), material });
    }

    /// A panel of paint with a smaller one of glass in it.
    fn window(&mut self, panel: [Vector; 4], frame: f64, outwards: Vector) {
        let centre = times(panel.iter().copied().fold([0.0; 3], add), 0.25);
        let glass = panel.map(|corner| {
            add(add(corner, times(less(centre, corner), frame)), times(outwards, BEFORE_M))
        });
        self.face(panel, Material::Paint);
        self.face(glass, Material::Glass);
    }

    fn add_body(&mut self, stations: &[Station]) {
        for pair in stations.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            let has_cabin = |station: &Station| station.roof_m > station.belt_m + 0.01;
            for sign in [-1.0, 1.0] {
                let (from, to) = (a.side(sign), b.side(sign));
                let panel = |level: usize| [from[level], to[level], to[level + 1], from[level + 1]];
                self.face(panel(0), Material::Paint);
                self.face(panel(1), Material::Paint);
                if has_cabin(a) && has_cabin(b) {
                    self.window(panel(2), 0.12, [0.0, sign, 0.0]);
                } else {
                    self.face(panel(2), Material::Paint);
                }
                self.face(panel(3), Material::Paint);
            }
            let (right, left) = ((a.side(-1.0), b.side(-1.0)), (a.side(1.0), b.side(1.0)));
            let top = [right.0[4], right.1[4], left.1[4], left.0[4]];
            if has_cabin(a) == has_cabin(b) {
                self.face(top, Material::Paint);
            } else {
                let forward = if has_cabin(a) { 1.0 } else { -1.0 };
                self.window(top, 0.10, unit([forward, 0.0, 1.0]));
            }
        }
    }

    /// Tail and nose with lamps, plates and a grille.
    fn add_ends(&mut self, stations: &[Station]) {
        let (Some(tail), Some(nose)) = (stations.first(), stations.last()) else { return };
        for (end, forward, lamp) in
            [(tail, -1.0, [0.55, 0.05, 0.06]), (nose, 1.0, [0.93, 0.94, 0.95])]
        {
            let (right, left) = (end.side(-1.0), end.side(1.0));
            for level in 0..2 {
                self.face(
                    [right[level], left[level], left[level + 1], right[level + 1]],
                    Material::Paint,
                );
            }
            let x = end.x + forward * BEFORE_M;
            let rise = end.belt_m - SILL_M;
            let mut plate = |y: (f64, f64), z: (f64, f64), material| {
                let (y0, y1) = (y.0 * end.half_m, y.1 * end.half_m);
                let (z0, z1) = (SILL_M + z.0 * rise, SILL_M + z.1 * rise);
                self.face([[x, y0, z0], [x, y1, z0], [x, y1, z1], [x, y0, z1]], material);
            };
            plate((0.52, 0.93), (0.66, 0.95), Material::Lamp(lamp));
            plate((-0.93, -0.52), (0.66, 0.95), Material::Lamp(lamp));
            plate((-0.28, 0.28), (0.30, 0.50), Material::Lamp([0.86, 0.86, 0.82]));
            plate((-0.9, 0.9), (0.02, 0.20), Material::Trim);
            if forward > 0.0 {
                plate((-0.46, 0.46), (0.58, 0.94), Material::Trim);
            }
        }
    }

    /// A wheel that ends at `y`, and the dark arch around it.
    fn add_wheel(&mut self, x: f64, y: f64, radius: f64) {
        const SPOKES: usize = 24;
        let outwards = y.signum();
        let ring = |radius_m: f64, y: f64| -> Vec<Vector> {
            let corner = |k: usize| {
                let (sin, cos) = (k as f64 / SPOKES as f64 * std::f64::consts::TAU).sin_cos();
                [x + radius_m * cos, y, radius + radius_m * sin]
            };
            (0..SPOKES).map(corner).collect()
        };
        let mut arch = ring(radius * 1.16, y + outwards * 0.002);
        arch.retain(|corner| corner[2] >= SILL_M);
        self.face(arch, Material::Trim);
        let (outer, inner) =
            (ring(radius, y + outwards * 0.012), ring(radius, y - outwards * 0.22));
        for k in 0..SPOKES {
            let next = (k + 1) % SPOKES;
            self.face([outer[k], outer[next], inner[next], inner[k]], Material::Rubber);
        }
        self.face(outer, Material::Rubber);
        self.face(ring(radius * 0.66, y + outwards * 0.018), Material::Rim);
        self.face(ring(radius * 0.16, y + outwards * 0.024), Material::Trim);
    }

    fn add_box(&mut self, at: Vector, half: Vector, material: Material) {
        for axis in 0..3 {
            for sign in [-1.0, 1.0] {
                let corner = |u: f64, v: f64| {
                    let mut offset = [0.0; 3];
                    offset[axis] = sign * half[axis];
                    offset[(axis + 1) % 3] = u * half[(axis + 1) % 3];
                    offset[(axis + 2) % 3] = v * half[(axis + 2) % 3];
                    add(at, offset)
                };
                self.face(
                    [corner(-1.0, -1.0), corner(1.0, -1.0), corner(1.0, 1.0), corner(-1.0, 1.0)],
                    material,
                );
            }
        }
    }

    /// All corners.
    pub fn corners(&self) -> impl Iterator<Item = Vector> + '_ {
        self.faces.iter().flat_map(|face| face.corners.iter().copied())
    }

    /// The faces as triangles, lit from the direction `light` and seen from `eye`.
    pub fn triangles(&self, eye: Vector, light: Vector) -> Vec<[Corner; 3]> {
        let mut triangles = Vec::new();
        for face in &self.faces {
            let Some(normal) = normal(&face.corners, eye) else { continue };
            let corner =
                |at: Vector| Corner { at, rgb: self.colour(face.material, at, normal, eye, light) };
            for k in 1..face.corners.len() - 1 {
                triangles.push([0, k, k + 1].map(|k| corner(face.corners[k])));
            }
        }
        triangles
    }

    /// Diffuse light, and the bright ceiling in what is glossy.
    fn colour(
        &self,
        material: Material,
        at: Vector,
        normal: Vector,
        eye: Vector,
        light: Vector,
    ) -> Rgb {
        let (base, gloss) = match material {
            Material::Paint => (self.paint, 0.20),
            Material::Glass => ([0.07, 0.08, 0.09], 0.42),
            Material::Rubber => ([0.06, 0.06, 0.06], 0.02),
            Material::Rim => ([0.62, 0.63, 0.65], 0.15),
            Material::Trim => ([0.05, 0.05, 0.05], 0.05),
            Material::Lamp(colour) => (colour, 0.10),
        };
        let lit = 0.50 + 0.34 * dot(normal, light).max(0.0) + 0.26 * normal[2].max(0.0);
        let seen = unit(less(at, eye));
        let mirrored = less(seen, times(normal, 2.0 * dot(seen, normal)));
        let ceiling = ((mirrored[2] + 0.1) / 0.8).clamp(0.0, 1.0);
        blend(scaled(base, lit as f32), [0.98; 3], (gloss * ceiling * ceiling) as f32)
    }
}

/// The unit normal on the side of `eye`; none of a face without area.
fn normal(corners: &[Vector], eye: Vector) -> Option<Vector> {
    // Newell's sum over the edges: exact for flat faces, and nearly so for those that bend a little.
    let next = corners.iter().cycle().skip(1);
    let sum = corners.iter().zip(next).fold([0.0; 3], |sum, (a, b)| add(sum, cross(*a, *b)));
    if dot(sum, sum) < 1e-12 {
        return None;
    }
    let normal = unit(sum);
    let towards = dot(normal, less(eye, corners[0]));
    Some(if towards < 0.0 { times(normal, -1.0) } else { normal })
}

/// A colour that cars have.
fn paint(rng: &mut Rng) -> Rgb {
    const PAINTS: [Rgb; 10] = [
        [0.93, 0.93, 0.92],
        [0.72, 0.73, 0.75],
        [0.46, 0.47, 0.49],
        [0.22, 0.23, 0.25],
        [0.08, 0.08, 0.09],
        [0.60, 0.08, 0.09],
        [0.10, 0.19, 0.45],
        [0.12, 0.30, 0.20],
        [0.76, 0.55, 0.14],
        [0.52, 0.46, 0.38],
    ];
    let colour = rng.pick(&PAINTS);
    colour.map(|level| (level * rng.range_f32(0.9, 1.1)).min(0.97))
}
