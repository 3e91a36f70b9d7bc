//! How rasters look in QGIS.

/// Colours from the threshold to certainty: red, green, blue, opacity of 255.
const SCORES: [[u8; 4]; 3] = [[255, 237, 111, 110], [253, 141, 60, 170], [189, 0, 38, 210]];

/// How far below the threshold a pixel is wholly transparent, of the full score.
const EDGE: f64 = 1e-3;

/// A picture: three bands as colours, or the first as grey; values of `range` from dark to bright.
pub(super) fn picture(bands: &[usize], range: Option<[f64; 2]>) -> String {
    let enhancement = |name: &str| {
        let [low, high] = range.unwrap_or([0.0, 255.0]);
        let algorithm = if range.is_some() { "StretchToMinimumMaximum" } else { "NoEnhancement" };
        format!(
            "<{name}><minValue>{low}</minValue><maxValue>{high}</maxValue><algorithm>{algorithm}</algorithm></{name}>"
        )
    };
    let renderer = match bands {
        [red, green, blue, ..] => format!(
            r#"<rasterrenderer type="multibandcolor" redBand="{red}" greenBand="{green}" blueBand="{blue}" alphaBand="-1" opacity="1">{}{}{}</rasterrenderer>"#,
            enhancement("redContrastEnhancement"),
            enhancement("greenContrastEnhancement"),
            enhancement("blueContrastEnhancement"),
        ),
        _ => format!(
            r#"<rasterrenderer type="singlebandgray" grayBand="{}" alphaBand="-1" opacity="1" gradient="BlackToWhite">{}</rasterrenderer>"#,
            bands.first().unwrap_or(&1),
            enhancement("contrastEnhancement"),
        ),
    };
    pipe(&renderer)
}

/// Scores of 0 to `full`: nothing below the threshold (a probability), from yellow to red above.
pub(super) fn scores(full: f64, threshold: f64) -> String {
    let threshold = threshold.clamp(EDGE, 1.0 - EDGE);
    let mut items = String::new();
    let mut item = |score: f64, [r, g, b, alpha]: [u8; 4], label: &str| {
        items += &format!(
            r##"<item value="{}" color="#{r:02x}{g:02x}{b:02x}" alpha="{alpha}" label="{label}"/>"##,
            score * full
        );
    };
    let [first, ..] = SCORES;
    let invisible = [first[0], first[1], first[2], 0];
    item(0.0, invisible, "");
    item(threshold - EDGE, invisible, "");
    for (index, colour) in SCORES.into_iter().enumerate() {
        let score = threshold + (1.0 - threshold) * index as f64 / (SCORES.len() - 1) as f64;
        item(score, colour, &format!("{score:.2}"));
    }
    pipe(&format!(
        r#"<rasterrenderer type="singlebandpseudocolor" band="1" alphaBand="-1" opacity="1" classificationMin="0" classificationMax="{full}"><rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" minimumValue="0" maximumValue="{full}">{items}</colorrampshader></rastershader></rasterrenderer>"#
    ))
}

fn pipe(renderer: &str) -> String {
    format!("<pipe>{renderer}</pipe>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_below_the_threshold() {
        let xml = scores(254.0, 0.5);
        let item = |value: &str| {
            let at = xml.find(&format!("<item value=\"{value}\"")).unwrap();
            xml[at..].split("/>").next().unwrap().to_owned()
        };
        assert!(item("0").contains("alpha=\"0\""));
        assert!(item(&(0.499 * 254.0).to_string()).contains("alpha=\"0\""));
        assert!(item("127").contains("alpha=\"110\""));
        assert!(item("254").contains("label=\"1.00\""));
    }

    #[test]
    fn a_picture_has_the_bands_that_it_is_given() {
        let xml = picture(&[4, 3, 2], Some([0.0, 3000.0]));
        assert!(xml.contains("redBand=\"4\"") && xml.contains("<maxValue>3000</maxValue>"));
        assert!(picture(&[2], None).contains("grayBand=\"2\""));
    }
}
