//! The stable name of every tensor: the one that the published code gives it (`segmentation_models_pytorch`, and the Open
//! Cities challenge's third place for `EfficientFPN`; encoders as in lukemelas' `efficientnet_pytorch`).

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
        ["encoder", rest @ ..] => format!("encoder.{}", encoder_name(rest)),
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
        _ => efficient_fpn_name(&fields),
    }
}

/// Names in the encoder.
fn encoder_name(fields: &[&str]) -> String {
    match fields {
        ["stem", "conv", rest] => format!("_conv_stem.{rest}"),
        ["stem", "norm", rest] => format!("_bn0.{rest}"),
        ["head", "conv", rest] => format!("_conv_head.{rest}"),
        ["head", "norm", rest] => format!("_bn1.{rest}"),
        ["blocks", index, "excite", layer, rest] => format!("_blocks.{index}._se_{layer}.{rest}"),
        ["blocks", index, part, layer, rest] => {
            let names = BLOCK_PARTS.iter().find(|names| names.0 == *part);
            let name =
                names.map_or(*part, |names| if *layer == "conv" { names.1 } else { names.2 });
            format!("_blocks.{index}.{name}.{rest}")
        }
        _ => fields.join("."),
    }
}

/// Names of `EfficientFPN` behind its encoder.
fn efficient_fpn_name(fields: &[&str]) -> String {
    // A normalisation follows its convolution in the published containers.
    let behind = |first: usize, layer: &str| first + usize::from(layer != "conv");
    match fields {
        ["laterals", index, rest] => format!("lateral{index}.{rest}"),
        [ladder, "units", unit, "norm", rest] => format!("{ladder}.{unit}.gn.{rest}"),
        [ladder, "units", unit, layer, rest] => format!("{ladder}.{unit}.{layer}.{rest}"),
        ["top3", rest] => format!("top3.0.{rest}"),
        ["top4", layer, rest] => format!("top4.{}.{rest}", behind(0, layer)),
        ["context", "mask", rest] => format!("ctx.conv_mask.{rest}"),
        ["context", "reduce", rest] => format!("ctx.channel_add_conv.0.{rest}"),
        ["context", "norm", rest] => format!("ctx.channel_add_conv.1.{rest}"),
        ["context", "expand", rest] => format!("ctx.channel_add_conv.3.{rest}"),
        ["aspp", "point", layer, rest] => format!("aspp.atrous0.{}.{rest}", behind(0, layer)),
        ["aspp", "dilated", index, layer, rest] => {
            let branch = index.parse::<usize>().map_or(0, |index| index + 1);
            format!("aspp.atrous{branch}.module.{}.{rest}", behind(0, layer))
        }
        ["aspp", "pooled", layer, rest] => {
            format!("aspp.atrous4.module.{}.{rest}", behind(1, layer))
        }
        ["aspp", "combine", layer, rest] => format!("aspp.combine.{}.{rest}", behind(0, layer)),
        ["attention", rest] => format!("conv_att.{rest}"),
        ["focal", rest] => format!("bce_logit.{rest}"),
        ["class", rest] => format!("_fc.{rest}"),
        ["scale", rest] => format!("_fc2.{rest}"),
        _ => fields.join("."),
    }
}

/// Whether files of smp hold a tensor under this name that the networks do not use: the encoder's classifier and the
/// counters of batch normalisation.
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
            ("encoder.head.norm.bias", "encoder._bn1.bias"),
            ("decoder.blocks.0.conv1.conv.weight", "decoder.blocks.0.conv1.0.weight"),
            ("decoder.blocks.4.conv2.norm.bias", "decoder.blocks.4.conv2.1.bias"),
            ("top1.units.1.norm.weight", "top1.1.gn.weight"),
            ("aspp.dilated.2.norm.running_var", "aspp.atrous3.module.1.running_var"),
            ("aspp.pooled.conv.weight", "aspp.atrous4.module.1.weight"),
            ("class.weight", "_fc.weight"),
        ] {
            assert_eq!(name(path), expected);
        }
    }
}
