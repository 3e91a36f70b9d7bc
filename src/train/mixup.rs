//! Mixup (Zhang et al. 2018, arXiv 1710.09412): the network sees sums of two images and is judged by both truths.

use burn::tensor::{Tensor, backend::Backend};
use rand::Rng;

use super::losses::{Losses, Truth};

/// A number from 0 to 1 with the distribution Beta(`alpha`, `alpha`).
pub fn beta(alpha: f64, rng: &mut impl Rng) -> f64 {
    // Jöhnk 1964: of two powers of uniform numbers, taken again while their sum exceeds 1. Logarithms, because the
    // powers of a small alpha underflow.
    loop {
        let mut power = || (1.0 - rng.random::<f64>()).ln() / alpha;
        let (x, y) = (power(), power());
        let larger = x.max(y);
        let sum = larger + ((x - larger).exp() + (y - larger).exp()).ln();
        if sum <= 0.0 {
            return (x - sum).exp();
        }
    }
}

/// Every image with the batch's next: `share` of itself, the rest of the other.
pub fn mix<B: Backend>(images: Tensor<B, 4>, share: f64) -> Tensor<B, 4> {
    images.clone() * share + next(images) * (1.0 - share)
}

/// The truth of the images that [`mix`] added.
pub fn next_truth<B: Backend>(truth: &Truth<B>) -> Truth<B> {
    Truth {
        labels: next(truth.labels.clone()),
        valid: next(truth.valid.clone()),
        soft: truth.soft,
        scale: truth.scale.clone().map(next),
    }
}

/// The losses by both truths, each in its share.
pub fn mix_losses<B: Backend>(own: Losses<B>, other: Losses<B>, share: f64) -> Losses<B> {
    let both = |own: Tensor<B, 1>, other: Tensor<B, 1>| own * share + other * (1.0 - share);
    let parts = own.parts.into_iter().zip(other.parts);
    Losses {
        total: both(own.total, other.total),
        parts: parts.map(|((name, own), (_, other))| (name, both(own, other))).collect(),
    }
}

/// The batch from its second image on, the first behind the last.
fn next<B: Backend, const D: usize>(batch: Tensor<B, D>) -> Tensor<B, D> {
    let n = batch.dims()[0];
    if n < 2 {
        return batch;
    }
    Tensor::cat(vec![batch.clone().narrow(0, 1, n - 1), batch.narrow(0, 0, 1)], 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        for alpha in [0.2, 1.0, 3.0] {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let shares: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut rng)).collect();
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let mean = shares.iter().sum::<f64>() / 20_000.0;
            let variance = shares.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}: {variance} {expected}");
        }
    }

    #[test]
    fn every_image_is_mixed_with_the_next_and_the_last_with_the_first() {
        let images = Tensor::<Flex, 4>::from_data(
            [[[[1.0f32]]], [[[10.0]]], [[[100.0]]]],
            &Default::default(),
        );
        let mixed = mix(images.clone(), 0.75).into_data().to_vec::<f32>().unwrap();
        assert_eq!(mixed, [3.25, 32.5, 75.25]);
        let truth = Truth::hard(images.clone(), images);
        assert_eq!(
            next_truth(&truth).labels.into_data().to_vec::<f32>().unwrap(),
            [10.0, 100.0, 1.0]
        );
    }
}
