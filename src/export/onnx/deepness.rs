//! What the QGIS plugin Deepness (0.6) reads from a file's metadata: every value is JSON.

use serde_json::{Value, json};

use crate::config::infer::InferenceConfig;
use crate::config::polygonize::PolygonizeOptions;
use crate::model::ModelSpec;

/// Keys and values. Windows, overlap and threshold are those that `geoseg infer` starts from.
pub fn metadata(spec: &ModelSpec, tile_px: Option<usize>) -> Vec<(&'static str, Value)> {
    let InferenceConfig { window_px, overlap_px, .. } = InferenceConfig::default();
    let names = spec.classes.iter().enumerate();
    let names: serde_json::Map<_, _> =
        names.map(|(index, name)| (index.to_string(), json!(name))).collect();
    let (mean, std) = standardisation(spec);
    vec![
        ("model_type", json!("Segmentor")),
        ("class_names", names.into()),
        // Centimetres, without the digits that a product of binary fractions has.
        ("resolution", json!((spec.gsd_m * 1e8).round() / 1e6)),
        ("tile_size", json!(tile_px.unwrap_or(window_px))),
        // Percent of a tile.
        ("tiles_overlap", json!(100 * overlap_px / window_px)),
        ("standardization_mean", json!(mean)),
        ("standardization_std", json!(std)),
        ("seg_thresh", json!(PolygonizeOptions::default().threshold)),
        // No median filter over the classes.
        ("seg_small_segment", json!(0)),
    ]
}

/// Mean and deviation for pixels that are divided by 255 first, whatever value range the model was trained for:
/// `((v - low) / (high - low) - mean) / std` as a function of `v / 255`.
fn standardisation(spec: &ModelSpec) -> (Vec<f64>, Vec<f64>) {
    let [low, high] = spec.value_range;
    let mean = spec.mean.iter().map(|mean| (low + mean * (high - low)) / 255.0);
    let std = spec.std.iter().map(|std| std * (high - low) / 255.0);
    (mean.collect(), std.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_reach_the_network_as_infer_normalises_them() {
        for value_range in [[0.0, 255.0], [200.0, 3000.0]] {
            let spec = ModelSpec { value_range, ..ModelSpec::default() };
            let (mean, std) = standardisation(&spec);
            for band in 0..3 {
                for pixel in [value_range[0], 220.0, value_range[1]] {
                    let theirs = (pixel / 255.0 - mean[band]) / std[band];
                    let [low, high] = value_range;
                    let ours = ((pixel - low) / (high - low) - spec.mean[band]) / spec.std[band];
                    assert!((theirs - ours).abs() < 1e-12, "{theirs} {ours}");
                }
            }
        }
    }

    #[test]
    fn a_value_is_json_that_the_plugin_can_read() {
        let spec = ModelSpec { gsd_m: 0.3, ..ModelSpec::default() };
        let entries = metadata(&spec, Some(256));
        let value = |key| entries.iter().find(|entry| entry.0 == key).unwrap().1.to_string();
        assert_eq!(value("model_type"), r#""Segmentor""#);
        assert_eq!(value("class_names"), r#"{"0":"building"}"#);
        assert_eq!(value("resolution"), "30.0");
        assert_eq!(value("tile_size"), "256");
        assert_eq!(value("tiles_overlap"), "25");
        assert_eq!(value("standardization_mean"), "[0.485,0.456,0.406]");
    }
}
