//! `geoseg mask`.

use std::path::PathBuf;

use super::args::DeviceArgs;
use super::{Context, stdout};
use crate::config::Precision;
use crate::error::{Error, Result};
use crate::infer;
use crate::mask::{self, Cleaning, MaskOptions, Order, Report};
use crate::model::weights;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  geoseg mask photos/ --model model.safetensors -o masks
  geoseg mask 'photos/*.jpg' --model model.safetensors --rle submission.csv --threshold 0.48
  geoseg mask photos/ --model model.safetensors -o masks --closing-px 3 --opening-px 3
  geoseg mask photos/ --model model.safetensors --truth masks/ --truth-suffix _mask --json scores.json
  geoseg mask car.jpg --model model.safetensors --cutouts cutouts --sheet sheet.png

A photo is resized, whole, to the side that the model was trained on, and the probabilities are brought back
to its own size before they become a mask. With --truth, the threshold that is best for these photos is
searched in steps of 0.001, before closing and opening: take it from photos for validation, not from those of
the last test.";

/// Mask photos: object or background, pixel by pixel
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("outputs").required(true).multiple(true)
    .args(["output", "cutouts", "rle", "truth", "sheet"]))]
pub struct Args {
    /// A folder of photos (.jpg, .png, .tif), a pattern in quotes, or one photo
    #[arg(value_name = "PHOTOS")]
    photos: PathBuf,
    /// Model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// Folder for PHOTO_mask.png, as large as the photo
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Folder for PHOTO.png, the object on a transparent background
    #[arg(long, value_name = "FOLDER")]
    cutouts: Option<PathBuf>,
    /// Table of run lengths (CSV)
    #[arg(long, value_name = "FILE")]
    rle: Option<PathBuf>,
    /// Order of the pixels in run lengths, written and (with --truth) read: row (Carvana) or column (TGS, Airbus)
    #[arg(long, value_name = "ORDER", default_value = "row")]
    rle_order: Order,
    /// Picture of the first photos with masks and cut-outs (PNG)
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Probability from which a pixel is object
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    threshold: f64,
    /// Radius of the closing, pixels of the photo: joins what a gap of twice the radius parts; 0 for none
    #[arg(long, value_name = "PX", default_value_t = 0.0)]
    closing_px: f64,
    /// Radius of the opening, after the closing: removes what is narrower than twice the radius; 0 for none
    #[arg(long, value_name = "PX", default_value_t = 0.0)]
    opening_px: f64,
    /// Score against true masks: a folder, or a CSV of run lengths
    #[arg(long, value_name = "FOLDER|FILE")]
    truth: Option<PathBuf>,
    /// What the name of a true mask has behind that of its photo: `_mask`
    #[arg(long, value_name = "TEXT", default_value = "", requires = "truth")]
    truth_suffix: String,
    /// Write the scores as JSON
    #[arg(long, value_name = "FILE", requires = "truth")]
    json: Option<PathBuf>,
    /// Side of the square that a photo is resized to for the network; that of the training's tiles where absent
    #[arg(long, value_name = "PX")]
    side_px: Option<usize>,
    /// Number format of the network
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    precision: Precision,
    /// Replace outputs that are there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    if !(0.0..=1.0).contains(&args.threshold) {
        let problem = format!("expected a probability from 0 to 1, found {}", args.threshold);
        return Err(Error::config("--threshold", problem));
    }
    let cleaning = Cleaning { closing_px: args.closing_px, opening_px: args.opening_px };
    cleaning.validate()?;
    let tables = [&args.json, &args.rle, &args.sheet].map(Option::as_deref);
    output::check_distinct(&tables, args.truth.as_deref())?;
    if let Some(path) = &args.json {
        output::check_writable(path, args.overwrite)?;
    }
    let options = MaskOptions {
        photos: args.photos.clone(),
        side_px: side_px(args)?,
        threshold: args.threshold,
        cleaning,
        masks: args.output.clone(),
        cutouts: args.cutouts.clone(),
        rle: args.rle.clone(),
        order: args.rle_order,
        truth: args.truth.clone(),
        truth_suffix: args.truth_suffix.clone(),
        sheet: args.sheet.clone(),
        overwrite: args.overwrite,
    };
    let device = args.device.resolve()?;
    let (spec, mut scorer) = infer::load_scorer(&args.model, &device, args.precision)?;
    let report = mask::run(&options, &spec, &mut scorer, context.progress)?;
    if let (Some(path), Some(scores)) = (&args.json, &report.scores) {
        let json = serde_json::to_string_pretty(scores)
            .map_err(|error| Error::io(path)(std::io::Error::other(error)))?;
        output::write_whole(path, (json + "\n").as_bytes(), args.overwrite)?;
    }
    stdout::print(&text(&report, cleaning != Cleaning::default()))
}

/// The side that was asked for, or that of the tiles that the model was trained on.
fn side_px(args: &Args) -> Result<usize> {
    // A photo of 8192 x 8192 px at once is what the largest machines hold.
    const SIDES: std::ops::RangeInclusive<usize> = 16..=8192;
    let side_px = match args.side_px {
        Some(side_px) => side_px,
        None => trained_side_px(args)?,
    };
    if SIDES.contains(&side_px) {
        return Ok(side_px);
    }
    Err(Error::config("--side-px", format!("expected 16 to 8192, found {side_px}")))
}

fn trained_side_px(args: &Args) -> Result<usize> {
    let (_, provenance) = weights::describe(&args.model)?;
    let data = provenance.get("geoseg.data").and_then(|json| {
        serde_json::from_str::<serde_json::Value>(json).ok()?.get("tile_px")?.as_u64()
    });
    data.map(|side_px| side_px as usize).ok_or_else(|| {
        Error::config("--side-px", "is needed: the model does not say how large its tiles were")
    })
}

fn text(report: &Report, cleaned: bool) -> String {
    let mut text =
        format!("{} photos, {:.1} Mpx in {:.1} s", report.photos, report.mpx, report.seconds);
    if let Some(scores) = &report.scores {
        text.push_str(&format!(
            "\nDice at {}  {:.4}\nbest Dice   {:.4} at {:.3}",
            scores.threshold, scores.dice, scores.best_dice, scores.best_threshold
        ));
        if cleaned {
            text.push_str(", before closing and opening");
        }
    }
    text
}
