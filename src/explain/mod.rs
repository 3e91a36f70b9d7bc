//! What a network looks at: the feature maps of its layers, its filters, and the parts of a window that speak for a class.
//!
//! A window is read, resampled and normalised by the code of [`crate::infer`]; layers are those of [`crate::model::tap`].

pub mod activations;
pub mod filters;
pub mod saliency;

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData, backend::Backend};
use image::{Rgb, RgbImage};

use crate::config::infer::InferConfig;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::infer::{Input, Region, SingleWindow};
use crate::kernels::Kernels;
use crate::model::tap::{self, Layer};
use crate::model::{self, ModelSpec};

/// A model, and the window of a scene that it is shown.
#[derive(Debug)]
pub struct Subject {
    model: PathBuf,
    spec: ModelSpec,
    device: Device,
    window: SingleWindow,
}

impl Subject {
    /// Reads the window of `scene` around a place ([`Input::single`]) as `geoseg infer` would feed it to the network of `model`.
    ///
    /// # Errors
    /// The file is no model, the scene does not fit it, or the place lies outside the scene or where it has no data.
    pub fn open(
        model: &Path,
        device: &Device,
        scene: &Path,
        config: &InferConfig,
        at: Option<(f64, f64)>,
    ) -> Result<Self> {
        let (spec, _) = model::weights::describe(model)?;
        let input = Input::open(scene, &spec, config, &Region::default())?;
        let window = input.single(&config.inference, at)?;
        Ok(Self { model: model.to_owned(), spec, device: device.clone(), window })
    }

    /// The layers that there are, in the order in which they run, with the shapes of what they put out for this window.
    ///
    /// # Errors
    /// The model cannot be read.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        crate::with_backend!(&self.device, |B, handle| {
            let (_, network) = model::load::<B>(&self.model, &handle)?;
            let (_, recording) = tap::record(&network, self.images::<B>(&handle), None);
            Ok(recording.layers)
        })
    }

    /// The window as a batch of one, `[1, bands, h, w]`.
    fn images<B: Kernels>(&self, device: &B::Device) -> Tensor<B, 4> {
        let batch = &self.window.batch;
        let shape = [1, batch.bands, batch.window_px, batch.window_px];
        Tensor::from_data(TensorData::new(batch.pixels.clone(), shape), device)
    }

    /// What the network is shown, brought back from its normalised numbers: the first three bands, or the first as grey.
    fn picture(&self) -> RgbImage {
        let batch = &self.window.batch;
        let side = batch.window_px as u32;
        let value = |band: usize, at: usize| {
            let x = f64::from(batch.pixels[band * batch.window_px * batch.window_px + at]);
            ((x * self.spec.std[band] + self.spec.mean[band]) * 255.0).round() as u8
        };
        RgbImage::from_fn(side, side, |x, y| {
            let at = y as usize * batch.window_px + x as usize;
            Rgb([0, 1, 2].map(|band| value(if batch.bands >= 3 { band } else { 0 }, at)))
        })
    }
}

/// The values of a tensor, in single precision.
fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    let device = format!("{:?}", tensor.device());
    tensor.into_data().convert::<f32>().into_vec().map_err(|error| Error::Device {
        device,
        problem: format!("returned no values ({error:?})"),
    })
}

/// The error for a name that none of `known` is.
fn unknown<'a>(key: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let nearest = known.max_by(|a, b| {
        let [a, b] = [a, b].map(|known| strsim::jaro_winkler(known, name));
        a.total_cmp(&b)
    });
    let nearest = nearest.unwrap_or_default();
    Error::config(
        key,
        format!("`{name}` is not known; did you mean `{nearest}`? (`{key} list` shows all)"),
    )
}
