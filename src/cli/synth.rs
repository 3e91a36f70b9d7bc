//! `geoseg synth`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::args::ConfigArgs;
use super::{Context, stdout};
use crate::config;
use crate::error::Result;
use crate::synth::photo::{self, PhotoOptions};
use crate::synth::{self, SynthOptions};

const EXAMPLES: &str = "\
Examples:
  geoseg synth -o towns --name a --size-px 2048 --seed 7
  geoseg synth -o big --size-px 40000x30000 --gsd-m 0.15 --set packing=deflate
  geoseg synth -o towns --name b --epsg 3857 --set origin=[9400000,3200000] --nodata-wedge --aoi
  geoseg synth --kind photo -o cars --count 96 --size-px 480x320 --seed 3

The same seed and options draw the same scene on every machine, and the same bytes with the same GDAL;
memory does not grow with the scene's height. Keys for --set and --config: name, width_px, height_px,
gsd_m, epsg, origin, seed, density (0 to 1), style, nodata_wedge, aoi, packing (jpeg or deflate),
jpeg_quality, footprints (geojson, gpkg, fgb, shp), strip_px; of photos: name, count, views (of a car),
width_px, height_px, seed, camouflage (share of cars in the background's colour, 0 to 1), jpeg_quality.";

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A town from above
    Town,
    /// Cars in a studio, from all sides
    Photo,
}

/// Draw a synthetic town and its exact footprints, or photos and their exact masks
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder for NAME.tif, NAME.geojson and NAME_aoi.geojson; of photos for images/ and masks/
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// A town, or photos
    #[arg(long, value_name = "KIND", default_value = "town")]
    kind: Kind,
    /// How many photos
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Stem of the files' names
    #[arg(long)]
    name: Option<String>,
    /// Columns and rows, or one number for both
    #[arg(long, value_name = "COLSxROWS", value_parser = parse_size)]
    size_px: Option<(usize, usize)>,
    /// Metres on the ground a pixel
    #[arg(long, value_name = "METRES")]
    gsd_m: Option<f64>,
    /// Coordinate reference system of the scene
    #[arg(long, value_name = "CODE")]
    epsg: Option<u32>,
    /// Family of towns
    #[arg(long, value_name = "STYLE")]
    style: Option<String>,
    /// Another seed is another town
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave a corner without data
    #[arg(long)]
    nodata_wedge: bool,
    /// Write an area of interest, too
    #[arg(long)]
    aoi: bool,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// "640" or "640x480".
fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let (cols, rows) = text.split_once(['x', 'X']).unwrap_or((text, text));
    let parse = |text: &str| text.trim().parse::<usize>();
    match (parse(cols), parse(rows)) {
        (Ok(cols), Ok(rows)) => Ok((cols, rows)),
        _ => Err("expected one number, or two with an x between".to_owned()),
    }
}

impl Args {
    /// The options that have a flag, as `key=value` texts.
    fn sets(&self) -> Vec<String> {
        let mut sets = Vec::new();
        let mut set = |key: &str, value: Option<String>| {
            sets.extend(value.map(|value| format!("{key}={value}")));
        };
        set("count", self.count.map(|count| count.to_string()));
        set("name", self.name.as_ref().map(|name| format!("{name:?}")));
        set("width_px", self.size_px.map(|(cols, _)| cols.to_string()));
        set("height_px", self.size_px.map(|(_, rows)| rows.to_string()));
        set("gsd_m", self.gsd_m.map(|gsd_m| gsd_m.to_string()));
        set("epsg", self.epsg.map(|epsg| epsg.to_string()));
        set("style", self.style.clone());
        set("seed", self.seed.map(|seed| seed.to_string()));
        set("nodata_wedge", self.nodata_wedge.then(|| "true".to_owned()));
        set("aoi", self.aoi.then(|| "true".to_owned()));
        sets
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match args.kind {
        Kind::Town => draw_town(args, context),
        Kind::Photo => draw_photos(args, context),
    }
}

fn draw_photos(args: &Args, context: &Context) -> Result<()> {
    let options = args.config.load::<PhotoOptions>(&args.sets())?;
    let beside = args.output.join(format!("{}photos.toml", options.name));
    config::check_effective(&beside, args.overwrite)?;
    let report = photo::run(&options, &args.output, args.overwrite, context.progress)?;
    config::write_effective(&options, &beside)?;
    stdout::print(&format!(
        "photos  {} ({} x {} px, {})\nmasks   {}",
        report.images.display(),
        options.width_px,
        options.height_px,
        report.photos,
        report.masks.display(),
    ))
}

fn draw_town(args: &Args, context: &Context) -> Result<()> {
    let options = args.config.load::<SynthOptions>(&args.sets())?;
    let report = synth::run(&options, &args.output, args.overwrite, context.progress)?;
    config::write_effective(&options, &report.image)?;
    let (cols, rows) = report.size_px;
    let mut text = format!(
        "scene       {} ({cols} x {rows} px, {:.1} Mpx/s)\nfootprints  {} ({} buildings)",
        report.image.display(),
        report.mpx_per_s(),
        report.footprints.display(),
        report.buildings,
    );
    if let Some(aoi) = &report.aoi {
        text.push_str(&format!("\narea        {}", aoi.display()));
    }
    stdout::print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_one_number_or_two() {
        assert_eq!(parse_size("64"), Ok((64, 64)));
        assert_eq!(parse_size("64x48"), Ok((64, 48)));
        assert!(parse_size("64x").is_err());
    }
}
