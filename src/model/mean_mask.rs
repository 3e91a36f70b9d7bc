//! The baseline that looks at nothing: what a network must beat to have learned from the images.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::{
    conv::zeros,
    graph::{Graph, Image},
    noise::Mode,
    spec::ModelSpec,
    survey::{Row, Survey},
};
use crate::Result;
use crate::kernels::Kernels;

/// Side of the mask, in pixels.
const SIDE_PX: usize = 128;

/// One logit for every class and place; images of other sizes get the mask stretched.
#[derive(Module, Debug)]
pub struct MeanMask<B: Backend> {
    /// `[classes, 128, 128]`.
    pub logits: Param<Tensor<B, 3>>,
}

impl<B: Kernels> MeanMask<B> {
    /// With zero logits.
    ///
    /// # Errors
    /// None: any spec will do.
    pub fn new(spec: &ModelSpec, device: &B::Device) -> Result<Self> {
        Ok(Self { logits: zeros([spec.classes.len(), SIDE_PX, SIDE_PX], device) })
    }

    /// `[n, bands, h, w]`, whatever it shows, to logits `[n, classes, h, w]`.
    #[expect(clippy::needless_pass_by_value, reason = "other networks consume their images")]
    pub fn forward(&self, x: Tensor<B, 4>, _: Mode) -> Tensor<B, 4> {
        let [n, _, h, w] = x.dims();
        let [classes, _, _] = self.logits.dims();
        let (rows, columns) = (stretch::<B>(h, &x.device()), stretch::<B>(w, &x.device()));
        let mask = rows.matmul(self.logits.val()).matmul(columns.transpose()); // [classes, h, w]
        mask.reshape([1, classes, h, w]).expand([n, classes, h, w])
    }

    #[expect(clippy::unused_self, reason = "other networks walk their layers")]
    pub(super) fn survey(&self, x: &Row, _: &mut Survey) -> Row {
        x.unseeing()
    }

    pub(super) fn graph(&self, x: Image, graph: &mut Graph) -> Image {
        graph.stretched(self.logits.val(), x)
    }
}

/// Bilinear stretching of the mask's side to `px` pixels as a matrix `[1, px, side]`. burn's own has no gradient on `CubeCL`
/// backends.
fn stretch<B: Backend>(px: usize, device: &B::Device) -> Tensor<B, 3> {
    let last = (SIDE_PX - 1) as f64;
    let mut matrix = vec![0f32; px * SIDE_PX];
    for (i, row) in matrix.chunks_exact_mut(SIDE_PX).enumerate() {
        let at = ((i as f64 + 0.5) * SIDE_PX as f64 / px as f64 - 0.5).clamp(0.0, last);
        let (first, weight) = (at as usize, at.fract() as f32);
        row[first] += 1.0 - weight;
        row[(first + 1).min(SIDE_PX - 1)] += weight;
    }
    Tensor::from_data(TensorData::new(matrix, [1, px, SIDE_PX]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    fn values<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    #[test]
    fn the_mask_keeps_its_values_at_its_own_size_and_is_stretched_to_others() {
        let device = Default::default();
        let mut network = MeanMask::<Flex>::new(
            &ModelSpec { classes: vec!["a".into(), "b".into()], ..ModelSpec::default() },
            &device,
        )
        .unwrap();
        let mask: Vec<f32> = (0..2 * SIDE_PX * SIDE_PX).map(|i| (i % SIDE_PX) as f32).collect();
        let mask = Tensor::from_data(TensorData::new(mask, [2, SIDE_PX, SIDE_PX]), &device);
        network.logits = Param::from_tensor(mask.clone());
        let out = network.forward(Tensor::ones([1, 3, SIDE_PX, SIDE_PX], &device), Mode::Eval);
        assert_eq!(values(out), values(mask));
        let out = network.forward(Tensor::ones([3, 3, 5, 256], &device), Mode::Eval);
        assert_eq!(out.dims(), [3, 2, 5, 256]);
        let row = &values(out)[..256];
        assert!((row[100] - (100.5 / 2.0 - 0.5)).abs() < 1e-5, "{}", row[100]);
        assert_eq!((row[0], row[255]), (0.0, 127.0));
    }
}
