//! Options of `geoseg synth --kind photo`.

use serde::{Deserialize, Serialize};

use super::file_stem;
use crate::error::{Error, Result};

/// Which photos to draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhotoOptions {
    /// Begins the files' names: `<name>0003_07.jpg` is the seventh view of the third car.
    pub name: String,
    /// How many photos.
    pub count: usize,
    /// Photos of the same car, turned evenly.
    pub views: usize,
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// Another seed is other cars in other studios.
    pub seed: u64,
    /// Share of cars in the colour of their background.
    pub camouflage: f64,
    /// Quality of JPEG, 1 to 100.
    pub jpeg_quality: u8,
}

impl Default for PhotoOptions {
    fn default() -> Self {
        Self {
            name: "car".into(),
            count: 64,
            views: 16,
            width_px: 480,
            height_px: 320,
            seed: 1,
            camouflage: 0.3,
            jpeg_quality: 90,
        }
    }
}

impl PhotoOptions {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Names the first key whose value does not.
    pub fn validate(&self) -> Result<()> {
        let size_ok = |px: usize| (32..=8192).contains(&px);
        let checks = [
            ("name", file_stem(&self.name), "a file name without folders"),
            ("count", (1..=1_000_000).contains(&self.count), "1 to 1 000 000"),
            ("views", (1..=99).contains(&self.views), "1 to 99"),
            ("width_px", size_ok(self.width_px), "32 to 8192"),
            ("height_px", size_ok(self.height_px), "32 to 8192"),
            ("camouflage", (0.0..=1.0).contains(&self.camouflage), "0 to 1"),
            ("jpeg_quality", (1..=100).contains(&self.jpeg_quality), "1 to 100"),
        ];
        for (key, fine, wanted) in checks {
            if !fine {
                return Err(Error::config(key, format!("must be {wanted}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_bad_value_is_named() {
        PhotoOptions::default().validate().unwrap();
        let problem = |bad: PhotoOptions| bad.validate().unwrap_err().to_string();
        assert!(problem(PhotoOptions { views: 0, ..PhotoOptions::default() }).contains("views"));
        assert!(
            problem(PhotoOptions { name: "a/b".into(), ..PhotoOptions::default() })
                .contains("name")
        );
        assert!(
            problem(PhotoOptions { camouflage: 1.5, ..PhotoOptions::default() })
                .contains("camouflage")
        );
    }
}
