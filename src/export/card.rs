//! The description of a written model: a STAC item (1.1) with the Machine Learning Model extension (MLM 1.5.2), for catalogues.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Format, onnx};
use crate::import;
use crate::model::ModelSpec;
use crate::model::weights::{Provenance, Summary, opened};

/// The extension's schema, which fixes its version.
const MLM: &str = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json";
/// What the network was trained with, and its version.
const FRAMEWORK: (&str, &str) = ("burn", "0.21.0");
const TASK: &str = "semantic-segmentation";

/// The item of the file `target` as JSON. What the model file does not say is not in it: place and time are unbounded.
pub fn text(target: &Path, format: Format, summary: &Summary, tile_px: Option<usize>) -> String {
    let spec = &summary.spec;
    let name =
        |name: Option<&std::ffi::OsStr>| name.unwrap_or_default().to_string_lossy().into_owned();
    let world =
        [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]].map(Vec::from).to_vec();
    let item = json!({
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM],
        "id": name(target.file_stem()),
        "geometry": {"type": "Polygon", "coordinates": [world]},
        "bbox": [-180, -90, 180, 90],
        "properties": properties(format, summary, tile_px),
        "links": [],
        "assets": {"model": asset(&name(target.file_name()), format, spec)},
    });
    format!("{item:#}\n")
}

fn properties(format: Format, summary: &Summary, tile_px: Option<usize>) -> Value {
    let Summary { spec, provenance, parameters, .. } = summary;
    let told = opened(provenance);
    let mut properties = json!({
        "title": spec.title(),
        "description": format!("Scores of {} for every pixel of aerial images", spec.classes.join(", ")),
        "datetime": null,
        "start_datetime": "1900-01-01T00:00:00Z",
        "end_datetime": "9999-12-31T23:59:59Z",
        "gsd": spec.gsd_m,
        "bands": spec.bands.iter().map(|band| json!({"name": band, "gsd": spec.gsd_m})).collect::<Vec<_>>(),
        "mlm:name": spec.title(),
        "mlm:architecture": spec.arch,
        "mlm:tasks": [TASK],
        "mlm:framework": FRAMEWORK.0,
        "mlm:framework_version": FRAMEWORK.1,
        "mlm:total_parameters": parameters,
        "mlm:input": [input(spec, tile_px)],
        "mlm:output": [output(format, spec, tile_px)],
        "geoseg:spec": spec,
        "geoseg:provenance": told,
    });
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(origin(provenance, &told));
    }
    properties
}

/// Whether training started from other weights, and its configuration, where the model file says so.
fn origin(provenance: &Provenance, told: &Map<String, Value>) -> Map<String, Value> {
    let mut origin = Map::new();
    if provenance.contains_key(import::IMPORTED) {
        origin.insert("mlm:pretrained".into(), true.into());
    }
    let Some(config) = told.get("geoseg.config").filter(|config| config.is_object()) else {
        return origin;
    };
    let init = config["model"]["init"].as_str().unwrap_or_default();
    origin.insert("mlm:pretrained".into(), (!init.is_empty()).into());
    let source = if init.is_empty() { Value::Null } else { init.into() };
    origin.insert("mlm:pretrained_source".into(), source);
    origin.insert("mlm:hyperparameters".into(), config.clone());
    origin
}

/// Sizes of a batch of images; -1 is any.
fn shape(channels: usize, tile_px: Option<usize>) -> [i64; 4] {
    let side = tile_px.map_or(-1, |px| px as i64);
    [-1, channels as i64, side, side]
}

fn input(spec: &ModelSpec, tile_px: Option<usize>) -> Value {
    // Of the scene's own values.
    let [low, high] = spec.value_range;
    let bands = spec.mean.iter().zip(&spec.std);
    let scaling = bands.map(|(mean, std)| {
        json!({"type": "z-score", "mean": low + mean * (high - low), "stddev": std * (high - low)})
    });
    json!({
        "name": onnx::INPUT,
        "bands": spec.bands,
        "input": {
            "shape": shape(spec.bands.len(), tile_px),
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": scaling.collect::<Vec<_>>(),
        "resize_type": "interpolation-linear",
        "description": format!(
            "Resampled to {} m a pixel; values outside {low} to {high} cut off", spec.gsd_m
        ),
    })
}

fn output(format: Format, spec: &ModelSpec, tile_px: Option<usize>) -> Value {
    let several = spec.is_exclusive() && spec.classes.len() > 1;
    let classes = spec.classes.iter().enumerate().map(|(value, class)| {
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        json!({
            "value": value,
            "name": class.chars().map(allowed).collect::<String>(),
            "description": class,
        })
    });
    let python = if several { "torch.softmax(logits, 1)" } else { "torch.sigmoid(logits)" };
    let (name, behind) = match format {
        Format::Onnx => (onnx::OUTPUT, Value::Null),
        _ => ("logits", json!({"format": "python", "expression": python})),
    };
    json!({
        "name": name,
        "tasks": [TASK],
        "result": {
            "shape": shape(spec.classes.len(), tile_px),
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": classes.collect::<Vec<_>>(),
        "post_processing_function": behind,
    })
}

fn asset(file: &str, format: Format, spec: &ModelSpec) -> Value {
    let (framework, artifact) = match format {
        Format::Onnx => ("ONNX", "onnx.save"),
        Format::Safetensors => ("PyTorch", "safetensors.torch.save_file"),
        Format::Torch => ("PyTorch", "torch.save"),
    };
    json!({
        "href": format!("./{file}"),
        "type": format!("application/octet-stream; framework={}", framework.to_lowercase()),
        "title": spec.title(),
        "roles": ["mlm:model", "mlm:weights", "data"],
        "mlm:framework": framework,
        "mlm:artifact_type": artifact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framework_is_the_one_that_is_linked_in() {
        let manifest = include_str!("../../Cargo.toml");
        let (name, version) = FRAMEWORK;
        assert!(manifest.contains(&format!("\n{name} = {{ version = \"={version}\"")));
    }

    #[test]
    fn a_model_started_from_weights_is_pretrained_and_one_that_says_nothing_is_not_judged() {
        let told = |config: &str| {
            let provenance = Provenance::from([("geoseg.config".to_owned(), config.to_owned())]);
            Value::Object(origin(&provenance, &opened(&provenance)))
        };
        let scratch = told("{\"model\": {\"init\": \"\"}}");
        assert_eq!(
            (&scratch["mlm:pretrained"], &scratch["mlm:pretrained_source"]),
            (&false.into(), &Value::Null)
        );
        let tuned = told("{\"model\": {\"init\": \"start.safetensors\"}}");
        assert_eq!(
            (&tuned["mlm:pretrained"], &tuned["mlm:pretrained_source"]),
            (&true.into(), &"start.safetensors".into())
        );
        assert_eq!(tuned["mlm:hyperparameters"]["model"]["init"], "start.safetensors");
        assert_eq!(origin(&Provenance::new(), &Map::new()), Map::new());
        let imported = Provenance::from([(import::IMPORTED.to_owned(), "{}".to_owned())]);
        assert_eq!(origin(&imported, &opened(&imported))["mlm:pretrained"], true);
    }
}
