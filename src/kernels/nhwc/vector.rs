//! Sixteen floats as the processor at hand holds them, and functions compiled for each kind of processor.
//!
//! Register tiles need vectors by name: the compiler does not keep arrays of hundreds of floats in registers by itself.

use crate::kernels::flex::simd::{BASE_FMA, fma};

/// Values of a [`Vector`].
pub const LANES: usize = 16;

/// Sixteen values that are computed together.
///
/// # Safety
/// Methods use features of the processor: they may only be called from functions compiled for them, which
/// [`vectorised`] defines and chooses.
pub unsafe trait Vector: Copy {
    /// Rows of the tile of a matrix product that fits the registers.
    const ROWS: usize;
    /// Vectors a row of that tile.
    const COLUMNS: usize;
    /// The same value sixteen times.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen values from anywhere.
    unsafe fn load(from: *const f32) -> Self;
    /// Sixteen values to anywhere.
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// `self * factor + term`, rounded once where the processor can.
    unsafe fn fma(self, factor: Self, term: Self) -> Self;
    /// `self * 2^n` for whole `n` in -126..=127.
    unsafe fn times_exp2(self, n: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "two dozen intrinsics with long names")]
    use std::arch::x86_64::*;

    use super::Vector;

    /// One register.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    /// Two registers.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256, __m256);

    /// Methods that are one intrinsic of two vectors.
    macro_rules! binary {
        (Avx512: $($method:ident = $intrinsic:ident),*) => {$(
            #[inline(always)]
            unsafe fn $method(self, other: Self) -> Self {
                // SAFETY: the caller is compiled for this processor.
                unsafe { Self($intrinsic(self.0, other.0)) }
            }
        )*};
        (Avx2: $($method:ident = $intrinsic:ident),*) => {$(
            #[inline(always)]
            unsafe fn $method(self, other: Self) -> Self {
                // SAFETY: the caller is compiled for this processor.
                unsafe { Self($intrinsic(self.0, other.0), $intrinsic(self.1, other.1)) }
            }
        )*};
    }

    // SAFETY: nothing but intrinsics, under the trait's condition; so in all of this module.
    unsafe impl Vector for Avx512 {
        // 24 sums, 2 weights and a factor in 32 registers.
        const ROWS: usize = 12;
        const COLUMNS: usize = 2;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm512_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        binary!(Avx512: add = _mm512_add_ps, sub = _mm512_sub_ps, mul = _mm512_mul_ps, div = _mm512_div_ps,
            max = _mm512_max_ps, min = _mm512_min_ps, times_exp2 = _mm512_scalef_ps);
        #[inline(always)]
        unsafe fn fma(self, factor: Self, term: Self) -> Self {
            unsafe { Self(_mm512_fmadd_ps(self.0, factor.0, term.0)) }
        }
    }

    #[inline(always)]
    unsafe fn half_times_exp2(value: __m256, n: __m256) -> __m256 {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }

    // SAFETY: as above.
    unsafe impl Vector for Avx2 {
        // 12 registers of sums, 2 of weights and a factor in 16.
        const ROWS: usize = 6;
        const COLUMNS: usize = 1;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }
        binary!(Avx2: add = _mm256_add_ps, sub = _mm256_sub_ps, mul = _mm256_mul_ps, div = _mm256_div_ps,
            max = _mm256_max_ps, min = _mm256_min_ps);
        #[inline(always)]
        unsafe fn fma(self, factor: Self, term: Self) -> Self {
            unsafe {
                let low = _mm256_fmadd_ps(self.0, factor.0, term.0);
                Self(low, _mm256_fmadd_ps(self.1, factor.1, term.1))
            }
        }
        #[inline(always)]
        unsafe fn times_exp2(self, n: Self) -> Self {
            unsafe { Self(half_times_exp2(self.0, n.0), half_times_exp2(self.1, n.1)) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// Sixteen floats for the compiler to put into whatever registers the target has (NEON, SSE).
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

// SAFETY: needs no features beyond the target's.
unsafe impl Vector for Portable {
    const ROWS: usize = 4;
    const COLUMNS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's sixteen values.
        unsafe { Self(from.cast::<[f32; LANES]>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's room for sixteen values.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.with(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        let one = |i: usize| fma::<BASE_FMA>(self.0[i], factor.0[i], term.0[i]);
        Self(std::array::from_fn(one))
    }
    #[inline(always)]
    unsafe fn times_exp2(self, n: Self) -> Self {
        self.with(n, |value, n| value * f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
}

/// Defines a function compiled for every level of processor, whose body sees that level's [`Vector`] under the name in
/// angle brackets; the level is found once at run time.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$v:ident>($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "sizes and places of a loop")]
        $vis unsafe fn $name($($arg: $ty),*) $(-> $ret)? {
            use $crate::kernels::{flex::simd::{Level, level}, nhwc::vector};
            #[allow(clippy::too_many_arguments, reason = "as above")]
            #[inline(always)]
            unsafe fn body<$v: vector::Vector>($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the promise that the function asks of its caller.
                unsafe { $body }
            }
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(clippy::too_many_arguments, reason = "as above")]
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: as above.
                    unsafe { body::<vector::Avx512>($($arg),*) }
                }
                #[allow(clippy::too_many_arguments, reason = "as above")]
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                    // SAFETY: as above.
                    unsafe { body::<vector::Avx2>($($arg),*) }
                }
                match level() {
                    // SAFETY: the processor has these features: `level` asked it.
                    Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    Level::Avx2 => return unsafe { avx2($($arg),*) },
                    Level::Base => {}
                }
            }
            // SAFETY: needs no features.
            unsafe { body::<vector::Portable>($($arg),*) }
        }
    };
}
pub(super) use vectorised;

/// `exp(x)`, relative error below 2e-7 in -87..88; beyond, the value at the bound. The polynomial of `flex::simd::exp`.
#[inline(always)]
pub unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller is compiled for `V`'s processor.
    unsafe {
        let x = x.max(V::splat(-87.0)).min(V::splat(88.0));
        // Adding this rounds to whole numbers.
        let round = V::splat(12_582_912.0);
        let n = x.fma(V::splat(std::f32::consts::LOG2_E), round).sub(round);
        let r = n.fma(V::splat(-0.693_359_4), x);
        let r = n.fma(V::splat(2.121_944_4e-4), r);
        let p = V::splat(1.987_569_2e-4);
        let p = p.fma(r, V::splat(1.398_199_9e-3));
        let p = p.fma(r, V::splat(8.333_452e-3));
        let p = p.fma(r, V::splat(4.166_579_6e-2));
        let p = p.fma(r, V::splat(1.666_666_5e-1));
        let p = p.fma(r, V::splat(0.5));
        p.mul(r).fma(r, r).add(V::splat(1.0)).times_exp2(n)
    }
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub unsafe fn silu<V: Vector>(x: V) -> V {
    // SAFETY: the caller is compiled for `V`'s processor.
    unsafe { x.div(V::splat(1.0).add(exp(V::splat(0.0).sub(x)))) }
}

/// `x * tanh(softplus(x))`: as `flex::simd::mish`, but for results below 1e-37.
#[inline(always)]
pub unsafe fn mish<V: Vector>(x: V) -> V {
    // SAFETY: the caller is compiled for `V`'s processor.
    unsafe {
        let e = exp(x.min(V::splat(20.0)));
        let n = e.mul(e.add(V::splat(2.0)));
        x.mul(n.div(n.add(V::splat(2.0))))
    }
}
