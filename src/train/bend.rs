//! Changes of shape that no affine map makes: an uneven grid, a lens.

use rand::Rng;

use crate::config::train::AugmentSection;

/// Cells of the uneven grid along a side.
const CELLS: usize = 5;

/// Where pixels of a square crop come from before it is turned and stretched. Offsets are from the centre, in halves
/// of the side: -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Bend {
    /// Offsets of the grid's lines along x and y, after the bend; `None` keeps them even.
    grid: Option<[[f64; CELLS + 1]; 2]>,
    /// Share by which a point at distance 1 moves outwards; it falls with the square of the distance.
    lens: f64,
}

impl Bend {
    /// No bend at all.
    pub const NONE: Self = Self { grid: None, lens: 0.0 };

    /// Draws one: the same draws are made whatever their outcome.
    pub fn draw(section: &AugmentSection, rng: &mut impl Rng) -> Self {
        let limit = section.grid_limit;
        let lines = [(); 2].map(|()| {
            let widths = [(); CELLS].map(|()| 1.0 + (2.0 * rng.random::<f64>() - 1.0) * limit);
            even_out(widths)
        });
        let grid = rng.random::<f64>() < section.grid_probability;
        let lens = (2.0 * rng.random::<f64>() - 1.0) * section.optical_limit;
        let through_lens = rng.random::<f64>() < section.optical_probability;
        Self { grid: grid.then_some(lines), lens: if through_lens { lens } else { 0.0 } }
    }

    /// Where the point at `offset` comes from.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [x, y] = match &self.grid {
            None => [x, y],
            Some([columns, rows]) => [between(columns, x), between(rows, y)],
        };
        let factor = 1.0 + self.lens * (x * x + y * y);
        [x * factor, y * factor]
    }
}

/// Lines between cells of these widths, from -1 to 1.
fn even_out(widths: [f64; CELLS]) -> [f64; CELLS + 1] {
    let sum: f64 = widths.iter().sum();
    let mut lines = [-1.0; CELLS + 1];
    for (i, width) in widths.iter().enumerate() {
        lines[i + 1] = lines[i] + 2.0 * width / sum;
    }
    lines
}

/// `offset` on the even grid, carried over to the uneven one.
fn between(lines: &[f64; CELLS + 1], offset: f64) -> f64 {
    let at = f64::midpoint(offset, 1.0) * CELLS as f64;
    let cell = (at.max(0.0) as usize).min(CELLS - 1);
    lines[cell] + (lines[cell + 1] - lines[cell]) * (at - cell as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn drawn(seed: u64, grid: f64, optical: f64) -> Bend {
        let section = AugmentSection {
            grid_probability: f64::from(u8::from(grid > 0.0)),
            grid_limit: grid,
            optical_probability: f64::from(u8::from(optical > 0.0)),
            optical_limit: optical,
            ..AugmentSection::default()
        };
        Bend::draw(&section, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn without_a_probability_nothing_moves() {
        assert_eq!(drawn(4, 0.0, 0.0), Bend::NONE);
        assert_eq!(Bend::NONE.apply([0.3, -0.7]), [0.3, -0.7]);
    }

    #[test]
    fn a_lens_moves_points_along_their_radius() {
        let bend = Bend { lens: 0.2, ..Bend::NONE };
        let [x, y] = bend.apply([0.6, 0.8]);
        assert!((x - 0.72).abs() < 1e-12 && (y - 0.96).abs() < 1e-12);
        assert_eq!(bend.apply([0.0, 0.0]), [0.0, 0.0]);
    }

    proptest! {
        #[test]
        fn a_grid_keeps_the_border_and_the_order_of_pixels(seed in any::<u64>(), limit in 0.05f64..0.9) {
            let bend = drawn(seed, limit, 0.0);
            prop_assert!((bend.apply([-1.0, 1.0])[0] + 1.0).abs() < 1e-12);
            prop_assert!((bend.apply([-1.0, 1.0])[1] - 1.0).abs() < 1e-12);
            let along: Vec<f64> = (0..=40).map(|i| bend.apply([f64::from(i) / 20.0 - 1.0, 0.0])[0]).collect();
            prop_assert!(along.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
