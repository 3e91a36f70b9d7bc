//! Options of `geoseg synth`.

mod photo;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::synth::StyleName;

pub use photo::PhotoOptions;

/// How a synthetic scene's pixels are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScenePacking {
    /// JPEG in a tiled TIFF: small, with the traces of compression that real scenes have.
    #[default]
    Jpeg,
    /// Lossless.
    Deflate,
}

/// What to draw, and where it lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthOptions {
    /// Stem of the files' names.
    pub name: String,
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// Metres on the ground a pixel.
    pub gsd_m: f64,
    /// The scene's coordinate reference system.
    pub epsg: u32,
    /// Easting and northing of the upper-left corner, in that system.
    pub origin: [f64; 2],
    /// Another seed is another town.
    pub seed: u64,
    /// How built-up it is: 0 country, 1 crowded.
    pub density: f64,
    /// Which family of towns it belongs to.
    pub style: StyleName,
    /// Whether a corner of the scene has no data.
    pub nodata_wedge: bool,
    /// Whether to write an area of interest, `<name>_aoi.geojson`.
    pub aoi: bool,
    /// How pixels are packed.
    pub packing: ScenePacking,
    /// Quality of JPEG, 1 to 100.
    pub jpeg_quality: u8,
    /// Format of the footprints, by extension: `geojson` (WGS 84), `gpkg`, `fgb`, `shp` (the scene's CRS).
    pub footprints: String,
    /// Rows drawn at a time, a multiple of 256: it bounds the memory and changes nothing else.
    pub strip_px: usize,
}

impl Default for SynthOptions {
    fn default() -> Self {
        Self {
            name: "town".into(),
            width_px: 1500,
            height_px: 1500,
            gsd_m: 0.3,
            epsg: 32645,
            origin: [357_000.0, 3_057_000.0],
            seed: 1,
            density: 0.5,
            style: StyleName::Auto,
            nodata_wedge: false,
            aoi: false,
            packing: ScenePacking::Jpeg,
            jpeg_quality: 80,
            footprints: "geojson".into(),
            strip_px: 512,
        }
    }
}

impl SynthOptions {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Names the first key whose value does not.
    pub fn validate(&self) -> Result<()> {
        // Beyond this, a town's coordinates would leave the 32-bit lattice of its textures.
        const MOST_PX: usize = 10_000_000;
        let size_ok = |px: usize| (1..=MOST_PX).contains(&px);
        let checks = [
            ("name", file_stem(&self.name), "a file name without folders"),
            ("width_px", size_ok(self.width_px), "1 to 10 000 000"),
            ("height_px", size_ok(self.height_px), "1 to 10 000 000"),
            ("gsd_m", (0.02..=5.0).contains(&self.gsd_m), "0.02 to 5 metres"),
            ("origin", self.origin.iter().all(|x| x.is_finite()), "two finite numbers"),
            ("density", (0.0..=1.0).contains(&self.density), "0 to 1"),
            ("jpeg_quality", (1..=100).contains(&self.jpeg_quality), "1 to 100"),
            (
                "strip_px",
                self.strip_px >= 256 && self.strip_px.is_multiple_of(256),
                "a multiple of 256",
            ),
        ];
        for (key, fine, wanted) in checks {
            if !fine {
                return Err(Error::config(key, format!("must be {wanted}")));
            }
        }
        Ok(())
    }
}

fn file_stem(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_bad_value_is_named() {
        SynthOptions::default().validate().unwrap();
        let bad = SynthOptions { strip_px: 300, ..SynthOptions::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("strip_px"));
    }
}
