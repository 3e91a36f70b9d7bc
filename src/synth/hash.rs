//! Randomness that depends on a place and nothing else, so that any window of a town can be drawn alone.

/// The finaliser of splitmix64: every input bit reaches every output bit.
const fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^ (h >> 31)
}

/// A small generator (splitmix64) seeded by what it is for and where.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of `purpose` at lattice cell (`i`, `j`).
    pub fn new(seed: u64, purpose: u64, i: i64, j: i64) -> Self {
        let mut h = mix(seed ^ 0x9E37_79B9_7F4A_7C15);
        for part in [purpose, i as u64, j as u64] {
            h = mix(h ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_add(0x9E37_79B9);
        }
        Self(h)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between `low` and `high`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform between `low` and `high`, for colours and other pixel values.
    pub fn range_f32(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit() as f32
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One of `low..=high`.
    pub fn whole(&mut self, low: usize, high: usize) -> usize {
        low + (self.unit() * (high - low + 1) as f64) as usize
    }

    /// One of `items`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[(self.unit() * items.len() as f64) as usize]
    }

    /// An index into `weights`, drawn in proportion to them.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }
}

/// 32 well-mixed bits of an integer point: fast enough for several calls a pixel.
#[inline]
pub const fn point(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77)
        ^ seed.wrapping_mul(0xC2B2_AE3D);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}

/// [`point`] as a number in `0..1`.
#[inline]
pub fn point_unit(x: i32, y: i32, seed: u32) -> f32 {
    (point(x, y, seed) >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// `floor` as an integer; baseline x86-64 has no instruction for it and would call into libm.
#[inline]
pub fn floor(x: f64) -> i32 {
    let whole = x as i32;
    whole - i32::from(x < f64::from(whole))
}

/// Smooth value noise in `0..1` with features about one unit wide.
#[inline]
pub fn noise(x: f64, y: f64, seed: u32) -> f32 {
    let (i, j) = (floor(x), floor(y));
    let (fx, fy) = ((x - f64::from(i)) as f32, (y - f64::from(j)) as f32);
    let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
    let (a, b) = (point_unit(i, j, seed), point_unit(i + 1, j, seed));
    let (c, d) = (point_unit(i, j + 1, seed), point_unit(i + 1, j + 1, seed));
    let (top, bottom) = (a + (b - a) * sx, c + (d - c) * sx);
    top + (bottom - top) * sy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_gives_the_same_numbers() {
        let mut a = Rng::new(7, 1, -3, 12);
        let mut b = Rng::new(7, 1, -3, 12);
        let mut elsewhere = Rng::new(7, 1, 12, -3);
        let first = a.bits();
        assert_eq!(first, b.bits());
        assert_ne!(first, elsewhere.bits());
    }

    #[test]
    fn noise_stays_in_its_range_and_is_continuous() {
        for k in -400..400 {
            let x = f64::from(k) * 0.173;
            let here = noise(x, -x * 0.7, 5);
            let near = noise(x + 1e-6, -x * 0.7, 5);
            assert!((0.0..=1.0).contains(&here));
            assert!((here - near).abs() < 1e-4);
        }
    }
}
