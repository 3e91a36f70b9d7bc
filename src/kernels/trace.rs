//! Which operators a network calls, with their sizes.
//!
//! Networks call the functions of [`super`] and no others, so a trace of one pass lists the operators of any network. A second
//! description of each network could say something else than what runs. Where nobody traces, a call costs a look at a flag.

use std::cell::RefCell;

use super::{Activation, Norm, Sliding};

/// An operator with all but the size of its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operator {
    /// Convolution.
    Conv {
        /// Output channels.
        outputs: usize,
        /// Taps a side.
        kernel: usize,
        /// Whether a bias is added.
        bias: bool,
        /// How the kernel moves.
        sliding: Sliding,
    },
    /// Convolution of every channel by its own kernel.
    Depthwise {
        /// Taps a side.
        kernel: usize,
        /// How the kernel moves.
        sliding: Sliding,
    },
    /// Normalisation by the input's own statistics, with the activation behind it.
    Normalize(Norm),
    /// Scale and shift a channel, with the activation behind them.
    Affine(Activation),
    /// `x * sigmoid(x)`.
    Silu,
    /// Bilinear upsampling.
    Bilinear {
        /// Output pixels a side for one of the input.
        factor: usize,
        /// Whether corners of input and output coincide.
        align_corners: bool,
    },
    /// Upsampling by repetition.
    Nearest {
        /// Output pixels a side for one of the input.
        factor: usize,
    },
    /// A factor a plane.
    PlaneScale,
    /// Squeeze and excitation.
    SqueezeExcite {
        /// Channels between its two layers.
        squeezed: usize,
    },
}

/// An operator on an input of `[n, channels, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// The operator.
    pub operator: Operator,
    /// Its input.
    pub input: [usize; 4],
}

impl Call {
    /// What comes out, `[n, channels, height, width]`.
    pub fn output(&self) -> [usize; 4] {
        let [n, c, h, w] = self.input;
        match self.operator {
            Operator::Conv { outputs, kernel, sliding, .. } => {
                let (h, w) = sliding.output_size(h, w, kernel);
                [n, outputs, h, w]
            }
            Operator::Depthwise { kernel, sliding } => {
                let (h, w) = sliding.output_size(h, w, kernel);
                [n, c, h, w]
            }
            Operator::Bilinear { factor, .. } | Operator::Nearest { factor } => {
                [n, c, h * factor, w * factor]
            }
            _ => self.input,
        }
    }

    /// Values of the weights that are multiplied with.
    pub fn weights(&self) -> usize {
        let channels = self.input[1];
        match self.operator {
            Operator::Conv { outputs, kernel, .. } => outputs * channels * kernel * kernel,
            Operator::Depthwise { kernel, .. } => channels * kernel * kernel,
            Operator::SqueezeExcite { squeezed } => 2 * squeezed * channels,
            _ => 0,
        }
    }

    /// Multiplications and additions with weights, two for each pair, as networks are usually counted: what normalisations,
    /// activations and resampling compute is left out.
    pub fn flops(&self) -> usize {
        let [n, _, h, w] = self.output();
        match self.operator {
            // Its layers see one pixel a sample.
            Operator::SqueezeExcite { .. } => 2 * n * self.weights(),
            _ => 2 * n * h * w * self.weights(),
        }
    }
}

thread_local! {
    static CALLS: RefCell<Option<Vec<Call>>> = const { RefCell::new(None) };
}

/// The calls of `run` on this thread, in order. Traces do not nest.
pub fn trace(run: impl FnOnce()) -> Vec<Call> {
    CALLS.with_borrow_mut(|calls| *calls = Some(Vec::new()));
    run();
    CALLS.with_borrow_mut(Option::take).unwrap_or_default()
}

/// Adds a call to the trace of this thread, if there is one.
pub(super) fn note<const D: usize>(operator: Operator, input: [usize; D]) {
    CALLS.with_borrow_mut(|calls| {
        let Some(calls) = calls else { return };
        // What is no image is so many values.
        let input = input.as_slice().try_into().unwrap_or([1, 1, 1, input.iter().product()]);
        calls.push(Call { operator, input });
    });
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Tensor;

    use super::super::{Padding, bilinear, conv, silu};
    use super::*;

    #[test]
    fn a_trace_holds_its_calls_with_what_they_put_out_and_nothing_else() {
        let device = Default::default();
        let x = Tensor::<Flex, 4>::ones([2, 3, 8, 6], &device);
        let weight = Tensor::<Flex, 4>::ones([5, 3, 3, 3], &device);
        let sliding = Sliding::new(2, Padding::split(0, 1));
        let calls = trace(|| {
            let y = conv(x.clone(), weight, None, sliding);
            assert_eq!(bilinear(y, 2, true).dims(), [2, 5, 8, 6]);
        });
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].input, calls[0].output()), ([2, 3, 8, 6], [2, 5, 4, 3]));
        assert_eq!(calls[0].flops(), 2 * 2 * 4 * 3 * 5 * 27);
        assert_eq!((calls[1].output(), calls[1].flops()), ([2, 5, 8, 6], 0));
        silu(x.clone());
        assert_eq!(trace(|| ()), []);
        assert_eq!(trace(|| drop(silu(x.flatten::<2>(0, 2))))[0].input, [1, 1, 1, 288]);
    }
}
