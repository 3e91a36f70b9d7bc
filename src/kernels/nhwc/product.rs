//! Products of pixels and weights: a tile of rows and outputs stays in the registers over all inputs.

use std::ops::Range;

use super::image::Values;
use super::vector::{LANES, Vector, mish, silu, vectorised};
use crate::kernels::Activation;

/// Weights `[outputs, inputs]` in groups of sixteen outputs, `[groups][inputs][16]`; outputs beyond the last are 0.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// Inputs.
    pub inputs: usize,
    /// Groups of sixteen outputs.
    pub groups: usize,
    /// The weights.
    pub values: Values,
}

impl Packed {
    /// From `weight(output, input)`.
    pub fn new(outputs: usize, inputs: usize, weight: impl Fn(usize, usize) -> f32) -> Self {
        let groups = outputs.div_ceil(LANES);
        let mut values = vec![0.0; groups * inputs * LANES];
        for output in 0..outputs {
            for input in 0..inputs {
                let place = (output / LANES * inputs + input) * LANES + output % LANES;
                values[place] = weight(output, input);
            }
        }
        Self { inputs, groups, values: values.into() }
    }
}

/// What happens to sums.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// Added first; one an output, padded to whole groups.
    pub bias: &'a [f32],
    /// Applied to that.
    pub activation: Activation,
    /// Added last; laid out as the output, or none.
    pub residual: &'a [f32],
}

/// The inputs of `rows` pixels: pixel `r` has its input `i` at `start + r * step + offset(i)`, where the offset is `i` itself
/// or taken from a table.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// All values.
    pub values: &'a [f32],
    /// From one pixel to the next.
    pub step: usize,
    /// Pixels.
    pub rows: usize,
    /// Where a pixel's inputs lie; empty: one after the other.
    pub offsets: &'a [usize],
}

/// A place in memory with all that a tile needs.
#[derive(Clone, Copy)]
struct Place {
    inputs: *const f32,
    step: usize,
    offsets: *const usize,
    weights: *const f32,
    /// From one group's weights to the next.
    group: usize,
    out: *mut f32,
    out_step: usize,
    bias: *const f32,
    residual: *const f32,
    activation: Activation,
    /// The sums are the result.
    plain: bool,
}

impl Place {
    #[inline(always)]
    fn at_row(self, row: usize) -> Self {
        let residual = if self.residual.is_null() {
            self.residual
        } else {
            self.residual.wrapping_add(row * self.out_step)
        };
        Self {
            inputs: self.inputs.wrapping_add(row * self.step),
            out: self.out.wrapping_add(row * self.out_step),
            residual,
            ..self
        }
    }

    #[inline(always)]
    fn at_group(self, group: usize) -> Self {
        let beside = |p: *const f32| if p.is_null() { p } else { p.wrapping_add(group * LANES) };
        Self {
            weights: self.weights.wrapping_add(group * self.group),
            out: self.out.wrapping_add(group * LANES),
            bias: beside(self.bias),
            residual: beside(self.residual),
            ..self
        }
    }
}

/// `R` pixels by `C` groups of outputs; `TABLE`: inputs lie where `offsets` says.
///
/// Sums are indexed by constants: they must end up in registers.
#[expect(clippy::needless_range_loop, reason = "iterators leave the sums in memory")]
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize, const TABLE: bool>(
    inputs: usize,
    place: Place,
) {
    // SAFETY: the caller's promise covers `R` rows and `C` groups.
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        for i in 0..inputs {
            let offset = if TABLE { *place.offsets.add(i) } else { i };
            let mut weights = [V::splat(0.0); C];
            for c in 0..C {
                weights[c] = V::load(place.weights.add(c * place.group + i * LANES));
            }
            for r in 0..R {
                let value = V::splat(*place.inputs.add(r * place.step + offset));
                for c in 0..C {
                    sums[r][c] = value.fma(weights[c], sums[r][c]);
                }
            }
        }
        // Stored first: a loop as long as the one below, over the sums themselves, would keep them in memory all along.
        for r in 0..R {
            for c in 0..C {
                sums[r][c].store(place.out.add(r * place.out_step + c * LANES));
            }
        }
        if place.plain {
            return;
        }
        for c in 0..C {
            let bias = V::load(place.bias.add(c * LANES));
            for r in 0..R {
                let at = r * place.out_step + c * LANES;
                let z = V::load(place.out.add(at)).add(bias);
                let mut z = match place.activation {
                    Activation::Identity => z,
                    Activation::Relu => z.max(V::splat(0.0)),
                    Activation::Silu => silu(z),
                    Activation::Mish => mish(z),
                };
                if !place.residual.is_null() {
                    z = z.add(V::load(place.residual.add(at)));
                }
                z.store(place.out.add(at));
            }
        }
    }
}

/// All rows of `C` groups, `R` at a time.
#[inline(always)]
unsafe fn rows<V: Vector, const R: usize, const C: usize, const TABLE: bool>(
    rows: usize,
    inputs: usize,
    place: Place,
) {
    let mut row = 0;
    // SAFETY: rows below `rows` are the caller's promise.
    unsafe {
        while row + R <= rows {
            tile::<V, R, C, TABLE>(inputs, place.at_row(row));
            row += R;
        }
        while row + 4 <= rows {
            tile::<V, 4, C, TABLE>(inputs, place.at_row(row));
            row += 4;
        }
        while row < rows {
            tile::<V, 1, C, TABLE>(inputs, place.at_row(row));
            row += 1;
        }
    }
}

#[inline(always)]
unsafe fn groups<V: Vector, const TABLE: bool>(
    count: usize,
    inputs: usize,
    of: usize,
    place: Place,
) {
    let mut g = 0;
    // SAFETY: groups below `of` are the caller's promise.
    unsafe {
        while V::COLUMNS == 2 && g + 2 <= of {
            rows::<V, 12, 2, TABLE>(count, inputs, place.at_group(g));
            g += 2;
        }
        while g < of {
            match V::ROWS {
                12 => rows::<V, 12, 1, TABLE>(count, inputs, place.at_group(g)),
                6 => rows::<V, 6, 1, TABLE>(count, inputs, place.at_group(g)),
                _ => rows::<V, 4, 1, TABLE>(count, inputs, place.at_group(g)),
            }
            g += 1;
        }
    }
}

vectorised! {
    fn all_groups<V>(count: usize, inputs: usize, of: usize, place: Place) {
        if place.offsets.is_null() {
            groups::<V, false>(count, inputs, of, place);
        } else {
            groups::<V, true>(count, inputs, of, place);
        }
    }
}

/// `out[row, output] = finish(sum over inputs)` for the outputs of some groups; `out` begins with the first of these
/// groups, rows `out_step` apart.
pub fn product(
    x: Inputs,
    weights: &Packed,
    of: Range<usize>,
    out: &mut [f32],
    out_step: usize,
    finish: Option<Finish>,
) {
    let wide = of.len() * LANES;
    if x.rows == 0 || wide == 0 {
        return;
    }
    let reach = match x.offsets.iter().max() {
        Some(last) => {
            assert_eq!(x.offsets.len(), weights.inputs, "an offset for every input");
            *last
        }
        None => weights.inputs.saturating_sub(1),
    };
    let last = (x.rows - 1) * out_step + wide;
    assert!((x.rows - 1) * x.step + reach < x.values.len(), "inputs beyond their memory");
    assert!(last <= out.len(), "outputs beyond their memory");
    assert!(of.end <= weights.groups, "groups beyond the weights");
    if let Some(finish) = finish {
        assert!(wide <= finish.bias.len(), "a bias for every output");
        let enough = finish.residual.is_empty() || last <= finish.residual.len();
        assert!(enough, "a residual for every output");
    }
    let group = weights.inputs * LANES;
    let or_null =
        |values: &[f32]| if values.is_empty() { std::ptr::null() } else { values.as_ptr() };
    let place = Place {
        inputs: x.values.as_ptr(),
        step: x.step,
        offsets: if x.offsets.is_empty() { std::ptr::null() } else { x.offsets.as_ptr() },
        weights: weights.values[of.start * group..].as_ptr(),
        group,
        out: out.as_mut_ptr(),
        out_step,
        bias: or_null(finish.map_or(&[], |finish| finish.bias)),
        residual: or_null(finish.map_or(&[], |finish| finish.residual)),
        activation: finish.map_or(Activation::Identity, |finish| finish.activation),
        plain: finish.is_none(),
    };
    // SAFETY: all that rows and groups reach was checked above.
    unsafe { all_groups(x.rows, weights.inputs, of.len(), place) };
}
