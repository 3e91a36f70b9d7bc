//! Styles of QGIS: what a layer's features look like, as the XML that both style files (QML) and
//! projects hold.

/// Red, green, blue.
type Colour = [u8; 3];

/// Lower and upper confidence, colour: from doubtful to sure. Most buildings lie above the usual threshold.
const CONFIDENCES: [(f64, f64, Colour); 6] = [
    (0.0, 0.5, [165, 0, 38]),
    (0.5, 0.6, [215, 48, 39]),
    (0.6, 0.7, [244, 109, 67]),
    (0.7, 0.8, [253, 174, 97]),
    (0.8, 0.9, [166, 217, 106]),
    (0.9, 1.0, [26, 152, 80]),
];

/// What a building is in a file of changes, and its colour.
const CHANGES: [(&str, Colour); 4] = [
    ("matched", [26, 152, 80]),
    ("changed", [253, 141, 60]),
    ("new", [49, 130, 189]),
    ("missing", [215, 25, 28]),
];

/// How much of the ground shows through a fill, of 255.
const FILL_ALPHA: u8 = 90;

/// A style file that colours buildings by their confidence.
pub fn by_confidence() -> String {
    style_file(&confidence_renderer())
}

/// A style file that colours buildings by what has become of them.
pub fn by_change() -> String {
    style_file(&change_renderer())
}

/// A layer in steps of `confidence`.
pub(super) fn confidence_renderer() -> String {
    let (mut ranges, mut symbols) = (String::new(), String::new());
    for (index, (lower, upper, colour)) in CONFIDENCES.into_iter().enumerate() {
        ranges += &format!(
            r#"<range lower="{lower}" upper="{upper}" symbol="{index}" label="{lower} - {upper}" render="true"/>"#
        );
        symbols += &fill(&index.to_string(), colour, FILL_ALPHA);
    }
    format!(
        r#"<renderer-v2 type="graduatedSymbol" attr="confidence" graduatedMethod="GraduatedColor" symbollevels="0"><ranges>{ranges}</ranges><symbols>{symbols}</symbols></renderer-v2>"#
    )
}

/// A layer by its `status`.
pub(super) fn change_renderer() -> String {
    let (mut categories, mut symbols) = (String::new(), String::new());
    for (index, (status, colour)) in CHANGES.into_iter().enumerate() {
        categories += &format!(
            r#"<category value="{status}" symbol="{index}" label="{status}" render="true"/>"#
        );
        symbols += &fill(&index.to_string(), colour, FILL_ALPHA);
    }
    format!(
        r#"<renderer-v2 type="categorizedSymbol" attr="status" symbollevels="0"><categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"#
    )
}

/// A layer of outlines alone.
pub(super) fn outline_renderer(colour: Colour) -> String {
    let symbol = fill("0", colour, 0);
    format!(
        r#"<renderer-v2 type="singleSymbol" symbollevels="0"><symbols>{symbol}</symbols></renderer-v2>"#
    )
}

fn style_file(renderer: &str) -> String {
    format!(
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n\
         <qgis version=\"3.22\" styleCategories=\"Symbology\">{renderer}</qgis>\n"
    )
}

/// A polygon's symbol: fill of an opacity of 255, outline of the same colour.
fn fill(name: &str, [r, g, b]: Colour, alpha: u8) -> String {
    let options = [
        ("color", format!("{r},{g},{b},{alpha}")),
        ("style", if alpha == 0 { "no" } else { "solid" }.to_owned()),
        ("outline_color", format!("{r},{g},{b},255")),
        ("outline_style", "solid".to_owned()),
        ("outline_width", "0.4".to_owned()),
        ("outline_width_unit", "MM".to_owned()),
    ];
    let mut text = String::new();
    for (key, value) in options {
        text += &format!(r#"<Option name="{key}" type="QString" value="{value}"/>"#);
    }
    format!(
        r#"<symbol type="fill" name="{name}" alpha="1" clip_to_extent="1"><layer class="SimpleFill" enabled="1" pass="0" locked="0"><Option type="Map">{text}</Option></layer></symbol>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_and_status_has_a_symbol_of_its_own() {
        let qml = by_confidence();
        assert_eq!(qml.matches("<range ").count(), qml.matches("<symbol ").count());
        assert_eq!(CONFIDENCES[0].0, 0.0);
        assert_eq!(CONFIDENCES[5].1, 1.0);
        assert!(CONFIDENCES.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!(by_change().matches("<symbol ").count(), 4);
    }
}
