//! Loops compiled three times (AVX-512, AVX2, whatever the target has) and chosen once at run time, and the vectorisable
//! arithmetic in them. A plain build of the program runs at the speed of the machine that it runs on.

/// What the processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The features that the program was compiled for.
    Base,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 (F, VL, BW, DQ) and FMA.
    Avx512,
}

/// Lowers the level, for tests of the others: `avx2` or `base`.
const LEVEL_VARIABLE: &str = "GEOSEG_SIMD";

/// The processor's level, detected once.
pub fn level() -> Level {
    static LEVEL: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
    *LEVEL.get_or_init(|| match (detect(), std::env::var(LEVEL_VARIABLE).as_deref()) {
        (_, Ok("base")) => Level::Base,
        (Level::Avx512, Ok("avx2")) => Level::Avx2,
        (detected, _) => detected,
    })
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Base,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Base
}

/// Whether the base level has a fused multiply-add that is not a library call.
pub const BASE_FMA: bool = cfg!(target_arch = "aarch64") || cfg!(target_feature = "fma");

/// Defines a function whose body is compiled for every [`Level`]. In the body the constant `FMA` says whether [`fma`] may
/// fuse. What the body calls must be `#[inline(always)]` to be compiled along.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[allow(clippy::too_many_arguments, clippy::inline_always)]
            #[inline(always)]
            fn body<const FMA: bool>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body::<true>($($arg),*) }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body::<true>($($arg),*) }
                match $crate::kernels::flex::simd::level() {
                    // SAFETY: the processor has these features: `level` asked it.
                    $crate::kernels::flex::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::kernels::flex::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::kernels::flex::simd::Level::Base => {}
                }
            }
            body::<{ $crate::kernels::flex::simd::BASE_FMA }>($($arg),*)
        }
    };
}
pub(super) use multiversion;

/// `a * b + c`, fused where that is one instruction.
#[expect(clippy::inline_always, reason = "compiled along with each version of a loop")]
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)` with a relative error below 2e-7 for x in -87..88; beyond, the value at the bound.
///
/// `2^n e^r` with `|r| <= ln 2 / 2` and a polynomial of degree 6 (its coefficients are Taylor's, the last ones moved
/// for the smallest error over that range, as in the Cephes library).
#[expect(
    clippy::excessive_precision,
    clippy::unreadable_literal,
    reason = "coefficients as published"
)]
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding it leaves the nearest whole number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_375;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FMA>(n, -LN2_HIGH, x);
    let r = fma::<FMA>(n, -LN2_LOW, r);
    let p = 1.9875691500e-4;
    let p = fma::<FMA>(p, r, 1.3981999507e-3);
    let p = fma::<FMA>(p, r, 8.3334519073e-3);
    let p = fma::<FMA>(p, r, 4.1665795894e-2);
    let p = fma::<FMA>(p, r, 1.6666665459e-1);
    let p = fma::<FMA>(p, r, 5.0000001201e-1);
    let p = fma::<FMA>(p * r, r, r) + 1.0;
    // The low bits of `shifted` are n; its exponent and the constant's part drop out of the shift.
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * scale
}

/// `1 / (1 + exp(-x))`.
#[expect(clippy::inline_always, reason = "compiled along with each version of a loop")]
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Beyond this `tanh(softplus(x))` is 1 in single precision, and `exp(2 x)` still far from overflow.
const MISH_SETTLED: f32 = 20.0;

/// `x * tanh(softplus(x))`, relative error below 1e-6.
///
/// With `e = exp(x)` the hyperbolic tangent is `e (e + 2) / (e (e + 2) + 2)`. Taking the root of e twice keeps results
/// exact that are products of a tiny e, which may have no normal number of its own.
#[expect(clippy::inline_always, reason = "compiled along with each version of a loop")]
#[inline(always)]
pub fn mish<const FMA: bool>(x: f32) -> f32 {
    let root = exp::<FMA>(0.5 * if x > MISH_SETTLED { MISH_SETTLED } else { x });
    let e = root * root;
    let gate_by_root = root * (e + 2.0) / fma::<FMA>(e, e + 2.0, 2.0);
    x * root * gate_by_root
}

/// Slope of [`mish`]: `e (e + 2) / d + 4 x e (1 + e) / d^2` with `d = e (e + 2) + 2`.
#[expect(clippy::inline_always, reason = "compiled along with each version of a loop")]
#[inline(always)]
pub fn mish_slope<const FMA: bool>(x: f32) -> f32 {
    let x = if x > MISH_SETTLED { MISH_SETTLED } else { x };
    let root = exp::<FMA>(0.5 * x);
    let e = root * root;
    let over_d = 1.0 / fma::<FMA>(e, e + 2.0, 2.0);
    let sum = fma::<FMA>(4.0 * x * over_d, 1.0 + e, e + 2.0);
    root * (root * over_d * sum)
}

/// Vector lanes that reductions keep apart: two AVX-512 registers.
pub const LANES: usize = 32;

/// Lanes added up in a fixed order.
#[expect(clippy::inline_always, reason = "compiled along with each version of a loop")]
#[inline(always)]
pub fn total(lanes: &[f32; LANES]) -> f64 {
    let mut sum = 0.0;
    for lane in lanes {
        sum += f64::from(*lane);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    multiversion! {
        fn exp_all(x: &[f32], out: &mut [f32]) {
            for (x, out) in x.iter().zip(out) {
                *out = exp::<FMA>(*x);
            }
        }
    }

    #[test]
    fn exp_is_right_to_a_millionth_everywhere() {
        let x: Vec<f32> = (0..400_000).map(|i| -87.0 + i as f32 * (175.0 / 400_000.0)).collect();
        let mut out = vec![0.0; x.len()];
        exp_all(&x, &mut out);
        let mut worst = 0f64;
        for (x, found) in x.iter().zip(&out) {
            let expected = f64::from(*x).exp();
            worst = worst.max((f64::from(*found) - expected).abs() / expected);
        }
        assert!(worst < 5e-7, "{worst}");
        assert_eq!(exp::<false>(0.0), 1.0);
        assert!(exp::<false>(-1000.0) < 1e-37 && exp::<false>(1000.0).is_finite());
    }

    /// `mish`, its slope, and the sum of the sizes of the slope's two terms (which cancel near -1.2).
    fn exact_mish(x: f64) -> (f64, f64, f64) {
        let softplus = x.max(0.0) + (-x.abs()).exp().ln_1p();
        let gate = softplus.tanh();
        // 1 - tanh^2 = 1 / cosh^2
        let second = x * softplus.cosh().powi(-2) / (1.0 + (-x).exp());
        (x * gate, gate + second, gate + second.abs())
    }

    fn worst_mish<const FMA: bool>() -> (f64, f64) {
        // Numbers below the smallest normal one have fewer digits.
        let relative = |found: f32, expected: f64, size: f64| {
            let rounding = f64::from(f32::from_bits(1));
            ((f64::from(found) - expected).abs() - 2.0 * rounding).max(0.0) / size
        };
        let mut worst = (0f64, 0f64);
        for i in 0..=400_000 {
            let x = -100.0 + i as f32 * (200.0 / 400_000.0);
            let (out, slope, size) = exact_mish(f64::from(x));
            worst.0 = worst.0.max(relative(mish::<FMA>(x), out, out.abs().max(1e-300)));
            worst.1 = worst.1.max(relative(mish_slope::<FMA>(x), slope, size));
        }
        worst
    }

    #[test]
    fn mish_and_its_slope_are_right_to_a_millionth_everywhere() {
        for (out, slope) in [worst_mish::<false>(), worst_mish::<true>()] {
            assert!(out < 1e-6, "{out}");
            assert!(slope < 1e-6, "{slope}");
        }
        assert_eq!((mish::<false>(1e30), mish_slope::<false>(1e30)), (1e30, 1.0));
        assert_eq!((mish::<false>(-1e30).abs(), mish_slope::<false>(-1e30).abs()), (0.0, 0.0));
        assert!(mish::<false>(f32::NAN).is_nan() && mish_slope::<false>(f32::NAN).is_nan());
    }
}
