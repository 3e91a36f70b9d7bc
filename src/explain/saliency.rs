//! Grad-CAM (Selvaraju et al. 2017) for segmentation (Seg-Grad-CAM, Vinogradova et al. 2020): where in a window a layer finds
//! what speaks for a class.

use std::path::Path;

use burn::tensor::{Tensor, TensorData, backend::AutodiffBackend};
use image::RgbImage;

use super::{Subject, unknown, values};
use crate::error::{Error, Result};
use crate::infer;
use crate::kernels::Kernels;
use crate::model::registry::listed;
use crate::model::tap::{self, Layer};
use crate::model::{self, ModelSpec, Network};
use crate::picture::heat::{self, HeatMap};

/// A class activation map.
#[derive(Debug, Clone, PartialEq)]
pub struct Cam {
    /// A weight a channel: the mean of the score's gradient over the channel's map.
    pub weights: Vec<f32>,
    /// What is above 0 in the weighted sum of the maps, `[row, col]` of the layer.
    pub map: Vec<f32>,
    /// Rows of the layer.
    pub height: usize,
    /// Columns of the layer.
    pub width: usize,
}

/// Grad-CAM of a layer. `share` gets the logits `[classes, h, w]` of the one image `x` and returns what each counts in the
/// score whose gradient is taken.
///
/// # Errors
/// No layer has this name, or nothing that comes out of it reaches the score; whatever `share` says.
pub fn grad_cam<B: AutodiffBackend + Kernels>(
    network: &Network<B>,
    x: Tensor<B, 4>,
    layer: &str,
    share: impl FnOnce(Vec<f32>) -> Result<Vec<f32>>,
) -> Result<Cam> {
    let device = x.device();
    let (logits, recording) = tap::record(network, x, Some(layer));
    let Some(maps) = recording.wanted else {
        let known = recording.layers.iter().map(|layer| layer.name.as_str());
        return Err(unknown("--layer", layer, known));
    };
    let shares = share(values(logits.clone().inner())?)?;
    let shares = Tensor::from_data(TensorData::new(shares, logits.dims()), &device);
    // Nothing of a layer beside the way to the logits reaches them; with nothing added of it, it has a gradient of 0 all the same.
    let score = (logits * shares).sum() + maps.clone().sum() * 0.0;
    let Some(gradient) = maps.grad(&score.backward()) else {
        return Err(without_influence(layer));
    };
    let [_, _, height, width] = maps.dims();
    let weights = gradient.mean_dim(3).mean_dim(2); // [1, channels, 1, 1]
    let map = (maps.inner() * weights.clone()).sum_dim(1).clamp_min(0.0); // [1, 1, height, width]
    let weights = values(weights)?;
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(without_influence(layer));
    }
    Ok(Cam { weights, map: values(map)?, height, width })
}

fn without_influence(layer: &str) -> Error {
    Error::config("--layer", format!("`{layer}` has no influence on the score; choose another"))
}

/// The side of a layer's pixel in the window where no layer is named: a building is a few of them. At the bottleneck a village
/// is one, and right before the head the map is little more than the prediction itself.
const USUAL_STRIDE: usize = 8;

/// The layer to look at where none is named: the last of stride 8 on the way up, before maps get finer again; where
/// they never get as coarse, the last before the head. What has no place (means over the image) is left out.
pub fn usual(layers: &[Layer]) -> Option<&Layer> {
    let area = |layer: &Layer| layer.shape[2] * layer.shape[3];
    let (logits, layers) = layers.split_last()?;
    let (_head, layers) = layers.split_last()?;
    let coarse = |layer: &&Layer| area(layer) * USUAL_STRIDE.pow(2) <= area(logits);
    let with_place = || layers.iter().filter(|layer| area(layer) > 1);
    let smallest = with_place().map(area).min()?;
    let way_up = with_place().skip_while(|layer| area(layer) > smallest).take_while(coarse);
    // Of equal ones this takes the last.
    way_up.max_by_key(|layer| area(layer)).or_else(|| with_place().next_back())
}

/// What speaks for a class in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Saliency {
    /// The class.
    pub class: String,
    /// The layer.
    pub layer: String,
    /// The layer's map.
    pub cam: Cam,
    /// Pixels of the window that are predicted as the class, `[row, col]`.
    pub predicted: Vec<bool>,
}

/// Which pixels of a window are predicted, and what speaks for them.
///
/// A pixel is predicted where the class's probability reaches `threshold`; the score is the sum of the class's logits over
/// these pixels.
///
/// # Errors
/// No class or layer has this name, no pixel is predicted, or the model cannot be read.
pub fn of(
    subject: &Subject,
    class: Option<&str>,
    layer: Option<&str>,
    threshold: f64,
) -> Result<Saliency> {
    let spec = &subject.spec;
    let class = class_of(spec, class)?;
    let layer = match layer {
        Some(layer) => layer.to_owned(),
        None => default_layer(subject)?,
    };
    let mut predicted = Vec::new();
    let cam = crate::with_autodiff_backend!(&subject.device, |B, handle| {
        let (_, network) = model::load::<B>(&subject.model, &handle)?;
        // Only the gradient by the layer is asked for.
        let network = burn::module::Module::no_grad(network);
        grad_cam(&network, subject.images::<B>(&handle), &layer, |logits| {
            predicted = subject.predicted(&logits, class, threshold);
            if !predicted.contains(&true) {
                let problem = format!(
                    "no pixel of this window is predicted as `{}` (probability of {threshold} or more); choose a \
                     window with some (--at), or lower polygonize.threshold",
                    spec.classes[class]
                );
                return Err(Error::config("--at", problem));
            }
            let px = predicted.len();
            let mut shares = vec![0.0; logits.len()];
            for (share, predicted) in shares[class * px..].iter_mut().zip(&predicted) {
                *share = f32::from(u8::from(*predicted));
            }
            Ok(shares)
        })?
    });
    let class = spec.classes[class].clone();
    if cam.map.iter().all(|value| *value == 0.0) {
        tracing::warn!(
            "{layer}: nothing in this window speaks for {class} there; look at another layer"
        );
    }
    Ok(Saliency { class, layer, cam, predicted })
}

fn default_layer(subject: &Subject) -> Result<String> {
    let layers = subject.layers()?;
    usual(&layers).map(|layer| layer.name.clone()).ok_or_else(|| {
        let expected = "a network with layers between its images and its logits";
        Error::input(&subject.model, expected, subject.spec.title(), "choose another model")
    })
}

/// The index of a class; of the one that `geoseg infer` scores where none is named.
fn class_of(spec: &ModelSpec, name: Option<&str>) -> Result<usize> {
    let Some(name) = name else { return infer::scored_class(spec) };
    spec.classes.iter().position(|class| class == name).ok_or_else(|| {
        Error::config(
            "--class",
            format!("the model knows {}, but no `{name}`", spec.classes.join(", ")),
        )
    })
}

impl Subject {
    /// The pixels with data whose probability reaches `threshold`.
    fn predicted(&self, logits: &[f32], class: usize, threshold: f64) -> Vec<bool> {
        let px = self.window.valid.len();
        let scores = infer::probabilities(logits, px, class, &self.spec);
        let pixels = scores.iter().zip(&self.window.valid);
        pixels.map(|(score, valid)| *valid && f64::from(*score) >= threshold).collect()
    }
}

impl Saliency {
    /// The map over the window's pixels, from 0 to 1 where it is largest.
    ///
    /// # Errors
    /// The architecture is not known.
    pub fn heat(&self, subject: &Subject) -> Result<Vec<f32>> {
        let side = subject.window.batch.window_px;
        // The network saw the window continued to this, half of it on each side.
        let seen = side.next_multiple_of(listed(&subject.spec.arch)?.multiple_px);
        let before = (seen - side) / 2;
        let Cam { map, height, width, .. } = &self.cam;
        let large = upsampled(map, (*height, *width), seen);
        let rows = large.chunks_exact(seen).skip(before).take(side);
        let heat: Vec<f32> = rows.flat_map(|row| row[before..before + side].to_vec()).collect();
        let largest = heat.iter().fold(0f32, |largest, value| largest.max(*value));
        let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
        Ok(heat.into_iter().map(|value| value * scale).collect())
    }
}

/// A map brought to a square of `side` by bilinear interpolation between the centres of its pixels.
fn upsampled(map: &[f32], (height, width): (usize, usize), side: usize) -> Vec<f32> {
    // The two neighbours of every output pixel along an axis, and the weight of the second.
    let taps = |len: usize| -> Vec<(usize, usize, f32)> {
        let tap = |i: usize| {
            let at = (i as f32 + 0.5) * len as f32 / side as f32 - 0.5;
            let at = at.clamp(0.0, (len - 1) as f32);
            (at as usize, (at as usize + 1).min(len - 1), at.fract())
        };
        (0..side).map(tap).collect()
    };
    let (rows, cols) = (taps(height), taps(width));
    let mut large = Vec::with_capacity(side * side);
    for (top, bottom, down) in rows {
        for (left, right, along) in &cols {
            let between = |row: usize| {
                map[row * width + left] * (1.0 - along) + map[row * width + right] * along
            };
            large.push(between(top) * (1.0 - down) + between(bottom) * down);
        }
    }
    large
}

/// Writes a PNG (replaced if there): the window with the prediction outlined, and the same under the map.
///
/// # Errors
/// The file cannot be written.
pub fn write(out: &Path, subject: &Subject, found: &Saliency) -> Result<()> {
    let heat = found.heat(subject)?;
    let rgb: RgbImage = subject.picture();
    let Cam { height, width, weights, .. } = &found.cam;
    let title = format!("What speaks for `{}` in {}", found.class, found.layer);
    let note = format!(
        "Grad-CAM of {}: {} channels of {height} x {width} values, weighted by their gradients",
        subject.spec.title(),
        weights.len()
    );
    let outline_label = format!("predicted as {}", found.class);
    let map = HeatMap {
        rgb: &rgb,
        heat: &heat,
        outlined: &found.predicted,
        title: &title,
        note: &note,
        outline_label: &outline_label,
        heat_label: "the largest of this window",
    };
    heat::write(out, &map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_interpolated_between_centres_and_held_at_the_edge() {
        let large = upsampled(&[0.0, 4.0, 8.0, 12.0], (2, 2), 4);
        assert_eq!(large[..4], [0.0, 1.0, 3.0, 4.0]);
        assert_eq!(large[4..8], [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(upsampled(&[3.0], (1, 1), 2), [3.0; 4]);
    }

    #[test]
    fn the_usual_layer_is_the_last_of_stride_8_on_the_way_up() {
        let layer = |name: &str, side| Layer { name: name.into(), shape: [1, 8, side, side] };
        let of = |layers: &[(&str, usize)]| {
            let ends = [("head", 64), (tap::LOGITS, 64)];
            let all = layers.iter().chain(&ends).map(|(name, side)| layer(name, *side));
            usual(&all.collect::<Vec<_>>()).map(|layer| layer.name.clone())
        };
        let down = [("stem", 32), ("eighth", 8), ("deep", 2), ("deep too", 2), ("mean", 1)];
        let up = [("up", 4), ("up again", 8), ("further", 16), ("beside", 8), ("last", 16)];
        assert_eq!(of(&[&down[..], &up[..]].concat()), Some("up again".to_owned()));
        assert_eq!(of(&down), Some("deep too".to_owned()));
        // Where nothing halves, the last one before the head.
        assert_eq!(of(&[("first", 64), ("second", 64)]), Some("second".to_owned()));
        assert_eq!(of(&[]), None);
        assert_eq!(usual(&[layer(tap::LOGITS, 64)]), None);
    }
}
