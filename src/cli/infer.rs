//! `geoseg infer`.

use std::path::PathBuf;
use std::str::FromStr;

use super::Context;
use super::args::{ConfigArgs, DeviceArgs};
use crate::error::Result;

const EXAMPLES: &str = "\
Examples:
  geoseg infer scene.tif --model model.safetensors -o buildings.geojson
  geoseg infer 'scenes/*.tif' --model model.safetensors -o buildings.gpkg --scores scores/
  geoseg infer https://example.org/cog.tif --model model.safetensors -o out.fgb --bbox 85.52,27.62,85.53,27.63

config/infer.toml lists every key with its default. The extension of the output chooses its format:
.geojson (WGS 84, RFC 7946), .geojsonl, .gpkg, .fgb, .shp. A scene that fails does not stop the
others; the exit code says that one did.";

/// Find buildings in scenes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Rasters that GDAL opens: files, URLs, /vsi paths, or patterns in quotes
    #[arg(required = true, value_name = "SCENE")]
    pub scenes: Vec<String>,
    /// Buildings of all scenes
    #[arg(short, long, value_name = "FILE", required_unless_present = "scores")]
    pub output: Option<PathBuf>,
    /// Model file
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Scores as a cloud-optimized GeoTIFF; with several scenes, a folder that gets one a scene
    #[arg(long, value_name = "FILE|FOLDER")]
    pub scores: Option<PathBuf>,
    /// Only inside this box: minimum and maximum longitude and latitude (WGS 84)
    #[arg(long, value_name = "MINX,MINY,MAXX,MAXY", allow_hyphen_values = true)]
    pub bbox: Option<BoundingBox>,
    /// Only inside the polygons of this vector file
    #[arg(long, value_name = "FILE")]
    pub aoi: Option<PathBuf>,
    /// Windows computed at once; the same as --set inference.batch=N
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Replace outputs that are there already
    #[arg(long)]
    pub overwrite: bool,
}

/// Longitudes and latitudes in degrees, WGS 84.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// West, south, east, north.
    pub corners: [f64; 4],
}

impl FromStr for BoundingBox {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text
            .split(',')
            .map(|number| number.trim().parse::<f64>().ok().filter(|number| number.is_finite()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("expected four numbers, found `{text}`"))?;
        let corners = <[f64; 4]>::try_from(numbers)
            .map_err(|numbers| format!("expected four numbers, found {}", numbers.len()))?;
        let [west, south, east, north] = corners;
        if west >= east || south >= north {
            return Err("expected minx < maxx and miny < maxy".to_owned());
        }
        Ok(Self { corners })
    }
}

pub(super) fn run(args: &Args, _context: &Context) -> Result<()> {
    let _ = (&args.scenes, &args.output, &args.model, &args.scores, args.bbox, &args.aoi);
    let _ = (args.batch, &args.config, args.overwrite);
    args.device.resolve().map(|_| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_box_is_four_numbers_in_order() {
        let parsed = "-1.5, 2,3,4".parse::<BoundingBox>().unwrap();
        assert_eq!(parsed.corners, [-1.5, 2.0, 3.0, 4.0]);
        for wrong in ["", "1,2,3", "1,2,3,4,5", "3,2,1,4", "1,2,x,4", "1,2,nan,4"] {
            assert!(wrong.parse::<BoundingBox>().unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
