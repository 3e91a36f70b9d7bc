//! The most that the processor can do: multiply-additions that wait for nothing but each other.

use super::vector::{LANES, Vector, vectorised};

/// `rounds` steps of `N` chains. One chain more than the processor needs to hide its latency changes nothing.
///
/// Chains are indexed by constants: they must stay in registers.
#[expect(clippy::needless_range_loop, reason = "iterators leave the chains in memory")]
#[inline(always)]
unsafe fn run<V: Vector, const N: usize>(rounds: usize, factor: f32, term: f32) -> (f32, usize) {
    // SAFETY: the caller runs on the processor that `V` needs.
    unsafe {
        let (factor, term) = (V::splat(factor), V::splat(term));
        let mut chains = [V::splat(0.0); N];
        for n in 0..N {
            chains[n] = V::splat(n as f32);
        }
        for _ in 0..rounds {
            for n in 0..N {
                chains[n] = chains[n].fma(factor, term);
            }
        }
        let mut sum = V::splat(0.0);
        for n in 0..N {
            sum = sum.add(chains[n]);
        }
        let mut lanes = [0f32; LANES];
        sum.store(lanes.as_mut_ptr());
        (lanes[0], 2 * N * LANES * rounds)
    }
}

vectorised! {
    fn chains<V>(rounds: usize, factor: f32, term: f32) -> (f32, usize) {
        // As many as the tile of a product has rows: they fit the registers, and more than latency times rate.
        match V::ROWS {
            12 => run::<V, 12>(rounds, factor, term),
            6 => run::<V, 6>(rounds, factor, term),
            _ => run::<V, 4>(rounds, factor, term),
        }
    }
}

/// Keeps one thread's arithmetic units busy for `rounds` steps; how many multiplications and additions that were.
pub fn multiply_adds(rounds: usize) -> usize {
    let (factor, term) = std::hint::black_box((0.999, 0.001));
    // SAFETY: reads and writes nothing but registers.
    let (sum, flops) = unsafe { chains(rounds, factor, term) };
    std::hint::black_box(sum);
    flops
}

/// The same with sums of products of two pairs of bf16 values, where the processor has them.
pub fn bf16_pairs(rounds: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512bf16") && std::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has been asked for both.
        return Some(unsafe { dots(rounds) });
    }
    let _ = rounds;
    None
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "iterators leave the chains in memory")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn dots(rounds: usize) -> usize {
    use std::arch::x86_64::{
        __m512bh, _mm512_dpbf16_ps, _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps,
    };
    const CHAINS: usize = 16;
    // SAFETY: both are 512 bits wide, and all bits mean something.
    let factor: __m512bh =
        unsafe { std::mem::transmute(_mm512_set1_ps(std::hint::black_box(1e-3))) };
    let mut sums = [_mm512_setzero_ps(); CHAINS];
    for _ in 0..rounds {
        for n in 0..CHAINS {
            sums[n] = _mm512_dpbf16_ps(sums[n], factor, factor);
        }
    }
    for sum in sums {
        std::hint::black_box(_mm512_reduce_add_ps(sum));
    }
    // 16 sums of two products a step.
    rounds * CHAINS * 16 * 4
}
