//! The tensors of a model under the names that `segmentation_models_pytorch` has for them, and what that program makes of them.

use burn::tensor::TensorData;

use crate::kernels::Kernels;
use crate::model::efficientnet::{Padding, Variant};
use crate::model::{ModelSpec, Network, named_tensors, registry};

/// All tensors. For networks that smp has, too, also those that its encoders hold and its decoders do not use: the last
/// convolution (zeros) and its normalisation (which changes nothing), so that `load_state_dict` finds every name.
pub fn tensors<B: Kernels>(spec: &ModelSpec, network: &Network<B>) -> Vec<(String, TensorData)> {
    let mut tensors = named_tensors(network);
    if let Some(variant) = Variant::named(&spec.encoder)
        && smp(spec).is_some()
    {
        let (inputs, outputs) = variant.head_channels();
        let filled = |name: &str, shape: &[usize], value: f32| {
            let values = vec![value; shape.iter().product()];
            (format!("encoder.{name}"), TensorData::new(values, shape.to_vec()))
        };
        tensors.extend([
            filled("_conv_head.weight", &[outputs, inputs, 1, 1], 0.0),
            filled("_bn1.weight", &[outputs], 1.0),
            filled("_bn1.bias", &[outputs], 0.0),
            filled("_bn1.running_mean", &[outputs], 0.0),
            filled("_bn1.running_var", &[outputs], 1.0),
        ]);
    }
    tensors
}

/// The network as smp is asked for it in Python; `None` where it has no such network.
pub fn smp(spec: &ModelSpec) -> Option<String> {
    let (class, decoder) = match spec.arch.as_str() {
        "fpn" => {
            let (pyramid, segmentation) = (spec.pyramid_channels, spec.segmentation_channels);
            let pyramid = format!("decoder_pyramid_channels={pyramid}");
            ("FPN", format!("{pyramid}, decoder_segmentation_channels={segmentation}"))
        }
        "unet" => ("Unet", format!("decoder_channels={:?}", spec.decoder_channels)),
        _ => return None,
    };
    let (bands, classes) = (spec.bands.len(), spec.classes.len());
    Some(format!(
        "smp.{class}(\"{}\", encoder_weights=None, in_channels={bands}, classes={classes}, {decoder})",
        spec.encoder
    ))
}

/// Where the tensors alone do not tell what the network computes.
pub fn notes(spec: &ModelSpec) -> Vec<String> {
    let mut notes = Vec::new();
    if smp(spec).is_none() {
        let title = spec.title();
        notes.push(format!(
            "segmentation_models_pytorch has no {title}: the names are geoseg's own"
        ));
    }
    if !registry::listed(&spec.arch).is_ok_and(|listed| listed.has_encoder) {
        return notes;
    }
    let smp = ModelSpec::default();
    if spec.batch_norm_eps != smp.batch_norm_eps {
        notes.push(format!(
            "the encoder's batch norm epsilon is {}, not {} as in smp: set `eps` of its BatchNorm2d layers",
            spec.batch_norm_eps, smp.batch_norm_eps
        ));
    }
    let alike = Variant::named(&spec.encoder)
        .is_some_and(|variant| variant.pads_alike(spec.encoder_padding, Padding::Nominal));
    if !alike {
        let padding = serde_json::to_value(spec.encoder_padding).unwrap_or_default();
        notes.push(format!(
            "the encoder's padding at stride 2 is {padding}, not that of smp, whose scores would differ: export to ONNX"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_smp_would_compute_otherwise_is_said() {
        let spec = ModelSpec::default();
        assert_eq!(notes(&spec), Vec::<String>::new());
        // All nominal sizes of b0 are even: SAME is the same there, and not with b2.
        let same = ModelSpec { encoder_padding: Padding::Same, ..spec.clone() };
        assert_eq!(notes(&same), Vec::<String>::new());
        let larger = ModelSpec { encoder: "efficientnet-b2".into(), ..same };
        assert!(notes(&larger)[0].contains("padding at stride 2 is \"same\""), "{larger:?}");
        let timm =
            ModelSpec { encoder_padding: Padding::Symmetric, batch_norm_eps: 1e-5, ..spec.clone() };
        let found = notes(&timm);
        assert!(found.len() == 2 && found[0].contains("epsilon is 0.00001"), "{found:?}");
        let own = ModelSpec { arch: "carvana-cnn".into(), ..timm };
        assert!(notes(&own).len() == 1 && smp(&own).is_none());
        assert!(smp(&spec).unwrap().starts_with("smp.FPN(\"efficientnet-b0\", "));
    }
}
