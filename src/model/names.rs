//! The stable name of every tensor: the one that `segmentation_models_pytorch` gives it.

/// Field names of a part of a block and what smp calls them; its normalisation has a name of its own.
const BLOCK_PARTS: [(&str, &str, &str); 3] = [
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
];

/// The name of the tensor at a path of fields, as `["encoder", "stem", "conv", "weight"]`.
pub fn smp_name(path: &[String]) -> String {
    let fields: Vec<&str> = path.iter().map(String::as_str).collect();
    match fields.as_slice() {
        ["encoder", "stem", "conv", rest] => format!("encoder._conv_stem.{rest}"),
        ["encoder", "stem", "norm", rest] => format!("encoder._bn0.{rest}"),
        ["encoder", "head", "conv", rest] => format!("encoder._conv_head.{rest}"),
        ["encoder", "head", "norm", rest] => format!("encoder._bn1.{rest}"),
        ["encoder", "blocks", index, "excite", layer, rest] => {
            format!("encoder._blocks.{index}._se_{layer}.{rest}")
        }
        ["encoder", "blocks", index, part, layer, rest] => {
            let names = BLOCK_PARTS.iter().find(|names| names.0 == *part);
            let name =
                names.map_or(*part, |names| if *layer == "conv" { names.1 } else { names.2 });
            format!("encoder._blocks.{index}.{name}.{rest}")
        }
        ["decoder", level, "skip", rest] => format!("decoder.{level}.skip_conv.{rest}"),
        ["decoder", "seg_blocks", ladder, "units", unit, layer, rest] => {
            let place = usize::from(*layer != "conv");
            format!("decoder.seg_blocks.{ladder}.block.{unit}.block.{place}.{rest}")
        }
        ["decoder", "blocks", block, unit, layer @ ("conv" | "norm"), rest] => {
            let place = usize::from(*layer != "conv");
            format!("decoder.blocks.{block}.{unit}.{place}.{rest}")
        }
        ["head", rest] => format!("segmentation_head.0.{rest}"),
        _ => fields.join("."),
    }
}

/// Whether files of smp hold a tensor under this name that its networks do not use: the encoder's head and classifier and
/// the counters of batch normalisation.
pub fn is_unused(name: &str) -> bool {
    name.starts_with("encoder._conv_head.")
        || name.starts_with("encoder._bn1.")
        || name.starts_with("encoder._fc.")
        || name.ends_with(".num_batches_tracked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> String {
        smp_name(&path.split('.').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn fields_become_the_names_of_smp() {
        for (path, expected) in [
            ("encoder.stem.conv.weight", "encoder._conv_stem.weight"),
            ("encoder.stem.norm.running_var", "encoder._bn0.running_var"),
            ("encoder.blocks.3.expand.conv.weight", "encoder._blocks.3._expand_conv.weight"),
            ("encoder.blocks.3.expand.norm.bias", "encoder._blocks.3._bn0.bias"),
            ("encoder.blocks.0.depthwise.norm.running_mean", "encoder._blocks.0._bn1.running_mean"),
            ("encoder.blocks.0.excite.reduce.bias", "encoder._blocks.0._se_reduce.bias"),
            ("encoder.blocks.15.project.conv.weight", "encoder._blocks.15._project_conv.weight"),
            ("encoder.blocks.15.project.norm.weight", "encoder._blocks.15._bn2.weight"),
            ("decoder.p5.bias", "decoder.p5.bias"),
            ("decoder.p4.skip.weight", "decoder.p4.skip_conv.weight"),
            (
                "decoder.seg_blocks.0.units.2.conv.weight",
                "decoder.seg_blocks.0.block.2.block.0.weight",
            ),
            ("decoder.seg_blocks.3.units.0.norm.bias", "decoder.seg_blocks.3.block.0.block.1.bias"),
            ("head.weight", "segmentation_head.0.weight"),
            ("encoder.head.conv.weight", "encoder._conv_head.weight"),
            ("encoder.head.norm.running_mean", "encoder._bn1.running_mean"),
            ("decoder.blocks.0.conv1.conv.weight", "decoder.blocks.0.conv1.0.weight"),
            ("decoder.blocks.4.conv2.norm.bias", "decoder.blocks.4.conv2.1.bias"),
        ] {
            assert_eq!(name(path), expected);
        }
    }
}
