//! `geoseg explain`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::args::{ConfigArgs, DeviceArgs};
use super::stdout;
use crate::config::infer::InferConfig;
use crate::error::{Error, Result};
use crate::explain::{Subject, activations, filters, saliency};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  geoseg explain activations scene.tif --model model.safetensors
  geoseg explain activations scene.tif --model model.safetensors --layer decoder.p3 -o maps.png
  geoseg explain filters --model model.safetensors -o filters.png
  geoseg explain saliency scene.tif --model model.safetensors --at 85.524,27.632 -o saliency.png

The first lists the layers. A window is read as `geoseg infer` reads it, with the same configuration:
resampled to the model's resolution, normalised, inference.window_px wide.";

/// Draw what a network looks at: feature maps, filters, what speaks for a class
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Activations(ActivationsArgs),
    Filters(FiltersArgs),
    Saliency(SaliencyArgs),
}

/// Draw the feature maps of a layer for one window, or list the layers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct ActivationsArgs {
    #[command(flatten)]
    window: WindowArgs,
    /// A layer as the model file names it; without one, or with `list`, the layers are listed
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// At most so many channels, those that vary most over the window first
    #[arg(long, value_name = "N", default_value = "64")]
    channels: NonZeroUsize,
    #[command(flatten)]
    picture: PictureArgs,
}

/// Draw the filters of the first convolution, or of another
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct FiltersArgs {
    /// Model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// A convolution as the model file names it, the first where absent; `list` lists them
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    #[command(flatten)]
    picture: PictureArgs,
}

/// Draw where in a window a layer finds what speaks for a class (Grad-CAM)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct SaliencyArgs {
    #[command(flatten)]
    window: WindowArgs,
    /// The class, by default the one that `geoseg infer` scores
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// A layer as the model file names it, by default the last of stride 8 on the way up; `list` lists them
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    #[command(flatten)]
    picture: PictureArgs,
}

/// A model and the window of a scene that it is shown.
#[derive(Debug, clap::Args)]
struct WindowArgs {
    /// Raster that GDAL opens
    #[arg(value_name = "SCENE")]
    scene: PathBuf,
    /// Model file
    #[arg(short, long, value_name = "FILE")]
    model: PathBuf,
    /// Where the window lies: longitude and latitude (WGS 84) of its middle, or column and row in a scene without
    /// georeference; the middle of the scene where absent
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true)]
    at: Option<Place>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Where the picture goes.
#[derive(Debug, clap::Args)]
struct PictureArgs {
    /// The picture to write (PNG)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a picture that is there already
    #[arg(long)]
    overwrite: bool,
}

/// A longitude and latitude, or a column and row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place(f64, f64);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|v| v.is_finite());
        let numbers = text.split_once(',').map(|(x, y)| (number(x), number(y)));
        match numbers {
            Some((Some(x), Some(y))) => Ok(Self(x, y)),
            _ => Err(format!("expected two numbers with a comma between, found `{text}`")),
        }
    }
}

/// What stands for a layer to have all listed.
const LIST: &str = "list";

pub(super) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Activations(args) => draw_activations(args),
        Command::Filters(args) => draw_filters(args),
        Command::Saliency(args) => draw_saliency(args),
    }
}

fn draw_activations(args: &ActivationsArgs) -> Result<()> {
    let Some(layer) = args.layer.as_deref().filter(|layer| *layer != LIST) else {
        return list_layers(&args.window);
    };
    let out = args.picture.checked(&args.window.inputs())?;
    let subject = args.window.open()?.0;
    let found = activations::of(&subject, layer)?;
    activations::write(out, &subject, &found, args.channels.get())?;
    let shown = found.channels.min(args.channels.get());
    stdout::print(&format!(
        "{}: {shown} of {} channels of {layer}, {} x {} values each",
        out.display(),
        found.channels,
        found.height,
        found.width
    ))
}

fn draw_filters(args: &FiltersArgs) -> Result<()> {
    if args.layer.as_deref() == Some(LIST) {
        let (_, convolutions) = filters::convolutions(&args.model)?;
        let rows = convolutions.iter().map(|one| (one.name.as_str(), one.shape));
        let heading = ["convolution", "filters", "inputs", "rows", "columns"];
        return stdout::print(&table(heading, rows));
    }
    let out = args.picture.checked(&[&args.model])?;
    let (spec, convolutions) = filters::convolutions(&args.model)?;
    let chosen = filters::choose(&args.model, &convolutions, args.layer.as_deref())?;
    let first = convolutions.first().is_some_and(|first| first.name == chosen.name);
    filters::write(out, &spec.title(), chosen, first.then_some(spec.bands.as_slice()))?;
    let [filters, inputs, rows, cols] = chosen.shape;
    stdout::print(&format!(
        "{}: {}, {filters} filters of {inputs} x {rows} x {cols}",
        out.display(),
        chosen.name
    ))
}

fn draw_saliency(args: &SaliencyArgs) -> Result<()> {
    if args.layer.as_deref() == Some(LIST) {
        return list_layers(&args.window);
    }
    let out = args.picture.checked(&args.window.inputs())?;
    let (subject, config) = args.window.open()?;
    let threshold = config.polygonize.threshold;
    let (class, layer) = (args.class.as_deref(), args.layer.as_deref());
    let found = saliency::of(&subject, class, layer, threshold)?;
    saliency::write(out, &subject, &found)?;
    let count = found.predicted.iter().filter(|predicted| **predicted).count();
    stdout::print(&format!(
        "{}: what speaks for {} in {} ({} x {} values); {:.1} % of the window is predicted",
        out.display(),
        found.class,
        found.layer,
        found.cam.height,
        found.cam.width,
        100.0 * count as f64 / found.predicted.len() as f64
    ))
}

fn list_layers(window: &WindowArgs) -> Result<()> {
    let layers = window.open()?.0.layers()?;
    let rows = layers.iter().map(|layer| (layer.name.as_str(), layer.shape));
    stdout::print(&table(["layer", "images", "channels", "rows", "columns"], rows))
}

fn table<'a>(heading: [&str; 5], rows: impl Iterator<Item = (&'a str, [usize; 4])>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heading);
    for (name, shape) in rows {
        let numbers = shape.map(|n| Cell::new(n).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(numbers));
    }
    table.to_string()
}

impl WindowArgs {
    fn inputs(&self) -> [&Path; 2] {
        [&self.model, &self.scene]
    }

    fn open(&self) -> Result<(Subject, InferConfig)> {
        let config: InferConfig = self.config.load(&[])?;
        config.validate()?;
        let device = self.device.resolve()?;
        let at = self.at.map(|Place(x, y)| (x, y));
        Ok((Subject::open(&self.model, &device, &self.scene, &config, at)?, config))
    }
}

impl PictureArgs {
    /// Where to write, found to be possible before any work is done.
    fn checked(&self, inputs: &[&Path]) -> Result<&Path> {
        let Some(out) = &self.output else {
            let problem = "name the picture to write; `--layer list` lists the layers";
            return Err(Error::config("--output", problem));
        };
        output::check_distinct(&[Some(out)], inputs.iter().copied())?;
        output::check_writable(out, self.overwrite)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_two_numbers() {
        assert_eq!("-1.5, 2".parse(), Ok(Place(-1.5, 2.0)));
        for wrong in ["", "1", "1,", "1,2,3", "1,x", "nan,1"] {
            assert!(wrong.parse::<Place>().unwrap_err().contains("expected two"), "{wrong}");
        }
    }
}
