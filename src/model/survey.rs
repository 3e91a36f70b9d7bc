//! What a network costs and sees, by walking its layers with a row of pixels that know where they come from. No image is
//! computed, and no number is typed in.
//!
//! Every layer has a `survey` beside its `forward`. Counted are convolutions, two operations for every multiply-add, as is usual;
//! normalisation, activation, resampling and concatenation are not. The receptive field is the theoretical one: the longest
//! stretch of input pixels that convolutions, pooling and resampling connect with one logit. What averages over the whole
//! image (squeeze and excitation, group normalisation) is left out of it: through that, every logit sees every pixel.

use burn::backend::{Flex, flex::FlexDevice};
use serde::Serialize;

use super::{Architecture, ModelSpec, conv::Conv, tensors};
use crate::Result;
use crate::kernels::{Kernels, Sliding, plain::bilinear_taps};

/// Length of the row, in pixels: longer than the receptive field of any network, a multiple of any stride.
const ROW_PX: usize = 8192;

/// Input pixels `first..=last` that a pixel depends on; none where `first > last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sources {
    first: i32,
    last: i32,
}

impl Sources {
    const NONE: Self = Self { first: i32::MAX, last: i32::MIN };

    fn with(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    fn count(self) -> usize {
        usize::try_from(i64::from(self.last) - i64::from(self.first) + 1).unwrap_or(0)
    }
}

/// A row of an image on its way through a network. Networks treat columns as they treat rows: one axis tells all.
#[derive(Debug, Clone)]
pub struct Row(Vec<Sources>);

impl Row {
    /// Of the input: every pixel depends on itself.
    fn input(px: usize) -> Self {
        Self((0..px as i32).map(|i| Sources { first: i, last: i }).collect())
    }

    /// Of an image that depends on no input, as long as this one.
    pub fn unseeing(&self) -> Self {
        Self(vec![Sources::NONE; self.0.len()])
    }

    /// What a kernel of `kernel` taps a side sees. Beyond the row there is nothing.
    pub fn slid(&self, kernel: usize, sliding: Sliding) -> Self {
        let (before, after) = (sliding.padding.left, sliding.padding.right);
        let reach = sliding.dilation * (kernel - 1) + 1;
        let out = (self.0.len() + before + after - reach) / sliding.stride + 1;
        let pixel = |i: usize| {
            let taps = (0..kernel).map(|tap| i * sliding.stride + tap * sliding.dilation);
            let seen = taps.filter_map(|at| self.0.get(at.checked_sub(before)?));
            seen.fold(Sources::NONE, |all, source| all.with(*source))
        };
        Self((0..out).map(pixel).collect())
    }

    /// Every pixel becomes `factor` pixels.
    pub fn nearest(&self, factor: usize) -> Self {
        Self(self.0.iter().flat_map(|source| std::iter::repeat_n(*source, factor)).collect())
    }

    /// Bilinear upsampling by `factor`.
    pub fn bilinear(&self, factor: usize, align_corners: bool) -> Self {
        let taps = bilinear_taps(self.0.len(), factor, align_corners).into_iter();
        let pixel = |(first, second, weight): (usize, usize, f32)| {
            let second = if weight > 0.0 { second } else { first };
            self.0[first].with(self.0[second])
        };
        Self(taps.map(pixel).collect())
    }

    /// The sum or concatenation with another image of the same size.
    pub fn joined(&self, other: &Self) -> Self {
        assert_eq!(self.0.len(), other.0.len(), "images of one size");
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a.with(*b)).collect())
    }

    fn receptive_field_px(&self) -> usize {
        self.0.iter().map(|source| source.count()).max().unwrap_or(0)
    }
}

/// The sums over the layers walked so far.
#[derive(Debug, Default)]
pub struct Survey {
    input_px: usize,
    /// Operations a megapixel of input.
    flops: f64,
    /// Weights of convolutions, each counted where it was met.
    weights: usize,
}

impl Survey {
    /// A convolution over an image.
    pub fn conv<B: Kernels>(&mut self, conv: &Conv<B>, x: &Row) -> Row {
        let [_, _, kernel, _] = conv.weight.dims();
        let out = x.slid(kernel, conv.sliding);
        let share = out.0.len() as f64 / self.input_px as f64;
        self.add(conv, share * share * 1e6);
        out
    }

    /// A convolution over the means of an image: one pixel, in an image of a megapixel.
    pub fn of_means<B: Kernels>(&mut self, conv: &Conv<B>) {
        self.add(conv, 1.0);
    }

    fn add<B: Kernels>(&mut self, conv: &Conv<B>, pixels: f64) {
        let weights = conv.weight.dims().iter().product::<usize>();
        self.flops += 2.0 * weights as f64 * pixels;
        self.weights += weights;
    }
}

/// The figures of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Trainable values.
    pub parameters: usize,
    /// 10^9 operations (two for a multiply-add) for 10^6 input pixels.
    pub gflops_per_mpx: f64,
    /// Side of the square of input pixels that a logit depends on, without what averages over the whole image.
    pub receptive_field_px: usize,
}

/// The figures of the network that `spec` describes.
///
/// # Errors
/// [`crate::Error::Config`] if the spec is not valid.
pub fn figures(spec: &ModelSpec) -> Result<Figures> {
    spec.validate()?;
    // Zero weights are never touched: even the largest network takes no memory.
    let arch = Architecture::<Flex>::new(spec, &FlexDevice)?;
    let mut survey = Survey { input_px: ROW_PX, ..Survey::default() };
    let logits = arch.survey(&Row::input(ROW_PX), &mut survey);
    Ok(Figures {
        parameters: tensors::trainable_values(&arch),
        gflops_per_mpx: survey.flops / 1e9,
        receptive_field_px: logits.receptive_field_px(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ARCHITECTURES, Network, efficientnet::Variant, named_tensors};
    use super::*;
    use crate::kernels::Padding;

    #[test]
    fn rows_know_where_they_come_from() {
        let sources = |row: &Row, i: usize| (row.0[i].first, row.0[i].last);
        let row = Row::input(16);
        let halved = row.slid(3, Sliding::new(2, Padding::split(0, 1)));
        assert_eq!(
            (halved.0.len(), sources(&halved, 2), sources(&halved, 7)),
            (8, (4, 6), (14, 15))
        );
        let doubled = halved.nearest(2);
        assert_eq!((sources(&doubled, 4), sources(&doubled, 5)), ((4, 6), (4, 6)));
        // Half a pixel to the left of pixel 2 lies between 1 and 2.
        assert_eq!(sources(&halved.bilinear(2, false), 4), (2, 6));
        assert_eq!(sources(&doubled.joined(&row), 1), (0, 2));
        assert_eq!(row.unseeing().receptive_field_px(), 0);
        let dilated = Sliding { dilation: 4, ..Sliding::new(1, Padding::uniform(4)) };
        assert_eq!(row.slid(3, dilated).receptive_field_px(), 9);
    }

    fn specs() -> impl Iterator<Item = ModelSpec> {
        ARCHITECTURES.iter().flat_map(|listed| {
            let encoders = if listed.has_encoder { 8 } else { 1 };
            Variant::names().take(encoders).map(|encoder| ModelSpec {
                arch: listed.name.into(),
                encoder,
                ..ModelSpec::default()
            })
        })
    }

    #[test]
    fn every_convolution_of_every_network_is_met_once_and_logits_are_as_many_as_pixels() {
        for spec in specs() {
            let arch = Architecture::<Flex>::new(&spec, &FlexDevice).unwrap();
            let mut survey = Survey { input_px: ROW_PX, ..Survey::default() };
            let out = arch.survey(&Row::input(ROW_PX), &mut survey);
            let name = format!("{} {}", spec.arch, spec.encoder);
            assert_eq!(out.0.len(), ROW_PX, "{name}");
            assert!(out.receptive_field_px() < ROW_PX / 2, "{name}: a longer row is needed");
            let weights: usize = tensors::named_shapes(&arch)
                .into_iter()
                .filter_map(|(_, shape)| {
                    (shape.len() == 4).then(|| shape.iter().product::<usize>())
                })
                .sum();
            assert_eq!(survey.weights, weights, "{name}");
        }
    }

    #[test]
    fn parameters_are_counted_without_their_values() {
        let spec = ModelSpec::default();
        let network = Network::<Flex>::new(&spec, &FlexDevice).unwrap();
        let counted: usize = named_tensors(&network)
            .iter()
            .filter(|(name, _)| tensors::is_trainable(name))
            .map(|(_, data)| data.shape.iter().product::<usize>())
            .sum();
        assert_eq!((figures(&spec).unwrap().parameters, network.parameters()), (counted, counted));
    }

    /// Layer by layer with pencil and paper, for a network small enough.
    #[test]
    fn operations_and_receptive_field_of_a_small_network_are_those_counted_by_hand() {
        let spec = ModelSpec { arch: "carvana-cnn".into(), ..ModelSpec::default() };
        let found = figures(&spec).unwrap();
        let weights = 3 * 16 * 9 + 16 * 32 * 9 + 32 * 25;
        assert_eq!(found.parameters, weights + 16 + 32 + 1);
        assert!((found.gflops_per_mpx - 2.0 * weights as f64 / 1e3).abs() < 1e-9);
        assert_eq!(found.receptive_field_px, 1 + 2 + 2 + 4);
    }

    #[test]
    fn deeper_encoders_cost_more_and_see_further() {
        for listed in ARCHITECTURES.iter().filter(|listed| listed.has_encoder) {
            let figures: Vec<Figures> = Variant::names()
                .map(|encoder| {
                    let arch = listed.name.into();
                    figures(&ModelSpec { arch, encoder, ..ModelSpec::default() }).unwrap()
                })
                .collect();
            for pair in figures.windows(2) {
                assert!(pair[0].parameters < pair[1].parameters, "{}: {pair:?}", listed.name);
                assert!(
                    pair[0].gflops_per_mpx < pair[1].gflops_per_mpx,
                    "{}: {pair:?}",
                    listed.name
                );
                assert!(pair[0].receptive_field_px <= pair[1].receptive_field_px, "{pair:?}");
            }
        }
    }
}
