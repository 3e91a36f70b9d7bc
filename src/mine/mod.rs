//! Hard tiles: those on which a model is wrong, and those that are surely empty.
//!
//! Of tiles with labels by hand, a tile is hard where the model sees buildings that are none. Of tiles with soft labels,
//! a tile is surely empty where neither the head for the image's class nor any pixel says building; its labels become
//! background. Both teach a network what no building looks like.

use std::path::Path;

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::infer::{self, Batch};
use crate::kernels::Kernels;
use crate::model::{self, Mode, ModelSpec, Network};
use crate::progress::Progress;
use crate::tiles::{Labels, Selected, Split, TilePixels, TileSet, write_selection};
use crate::truth::{BACKGROUND, IGNORE, is_building};

/// What is hard, and what is empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Probability from which a pixel counts as building.
    pub threshold: f64,
    /// Least share of a labelled tile's pixels that are wrongly taken for a building.
    pub false_share: f64,
    /// A tile is empty if its class and its likeliest pixel stay below this probability.
    pub empty_below: f64,
    /// Most tiles to take, the worst of them (the emptiest, of soft labels); all where absent.
    pub most: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { threshold: 0.5, false_share: 0.01, empty_below: 0.2, most: None }
    }
}

impl Options {
    fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("--threshold", self.threshold),
            ("--false-share", self.false_share),
            ("--empty-below", self.empty_below),
        ] {
            if !(value > 0.0 && value < 1.0) {
                let problem = format!("is {value}, must be above 0 and below 1");
                return Err(Error::config(name, problem));
            }
        }
        Ok(())
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Tiles that were looked at.
    pub seen: usize,
    /// Tiles written.
    pub kept: usize,
    /// Whether the network has a head for the class of an image.
    pub has_class: bool,
}

/// Looks at the training tiles of `set` (at all, of soft labels) with the model in `file`, and writes those that teach
/// into a tile set of its own in `out`.
///
/// # Errors
/// The file is no model or does not fit the tiles, no tile was found, or `out` cannot be written.
pub fn run(
    set: &TileSet,
    file: &Path,
    device: &Device,
    options: &Options,
    (out, overwrite): (&Path, bool),
    progress: Progress,
) -> Result<Report> {
    options.validate()?;
    crate::import::refuse_untrained(file)?;
    let judged = crate::with_backend!(device, |B, handle| {
        let (spec, network) = model::load::<B>(file, &handle)?;
        check(&spec, file, set)?;
        judge(set, &spec, &network, &handle, options, progress)
    })?;
    let mut worst: Vec<&Judged> = judged.iter().filter(|judged| judged.teaches).collect();
    worst.sort_by(|a, b| {
        b.badness.total_cmp(&a.badness).then(a.selected.tile.cmp(&b.selected.tile))
    });
    worst.truncate(options.most.unwrap_or(usize::MAX));
    let report = Report {
        seen: judged.len(),
        kept: worst.len(),
        has_class: judged.iter().any(|judged| judged.has_class),
    };
    if worst.is_empty() {
        return Err(Error::input(
            &set.root,
            match set.info.labels {
                Labels::Classes => format!(
                    "a tile of whose pixels a share of {} is wrongly taken for buildings",
                    options.false_share
                ),
                Labels::Soft => {
                    format!("a tile without a probability above {}", options.empty_below)
                }
            },
            format!("none among {}", judged.len()),
            "there is nothing to learn from; or ask for less with --false-share or --empty-below",
        ));
    }
    let mut selected: Vec<Selected> =
        worst.into_iter().map(|judged| judged.selected.clone()).collect();
    selected.sort_by_key(|selected| selected.tile);
    let purpose = format!("mine {options:?} {:016x}", model::weights::fingerprint(file)?);
    write_selection(set, &selected, &purpose, out, overwrite)?;
    Ok(report)
}

/// A tile and what the model makes of it.
struct Judged {
    selected: Selected,
    teaches: bool,
    /// Sorts what is kept: the share of false pixels, or how sure it is that there is nothing.
    badness: f64,
    has_class: bool,
}

fn check(spec: &ModelSpec, file: &Path, set: &TileSet) -> Result<()> {
    let info = &set.info;
    if spec.bands.len() == info.bands && spec.value_range == info.value_range {
        return Ok(());
    }
    let describe =
        |bands: usize, [low, high]: [f64; 2]| format!("{bands} bands, values from {low} to {high}");
    Err(Error::input(
        file,
        format!("a model of such tiles: {}", describe(info.bands, info.value_range)),
        describe(spec.bands.len(), spec.value_range),
        "cut the tiles as those that the model was trained on",
    ))
}

fn judge<B: Kernels>(
    set: &TileSet,
    spec: &ModelSpec,
    network: &Network<B>,
    device: &B::Device,
    options: &Options,
    progress: Progress,
) -> Result<Vec<Judged>> {
    let wanted =
        |tile: &usize| set.info.labels == Labels::Soft || set.tiles[*tile].split == Split::Train;
    let tiles: Vec<usize> = (0..set.tiles.len()).filter(wanted).collect();
    let class = infer::scored_class(spec)?;
    let bar = progress.bar("mine", tiles.len() as u64, "tiles");
    let mut judged = Vec::with_capacity(tiles.len());
    for tile in tiles {
        let pixels = set.read(&set.tiles[tile])?;
        let seen = see(&pixels, spec, class, network, device);
        judged.push(match set.info.labels {
            Labels::Classes => by_hand(tile, &pixels, &seen, options),
            Labels::Soft => empty(tile, &pixels, &seen, options),
        });
        bar.inc(1);
    }
    bar.finish();
    Ok(judged)
}

/// What a network says of a tile.
struct Seen {
    /// Probability of a building, `[row][col]`.
    pixels: Vec<f32>,
    /// Probability that there is one, where the network has a head for it.
    class: Option<f32>,
}

fn see<B: Kernels>(
    tile: &TilePixels,
    spec: &ModelSpec,
    class: usize,
    network: &Network<B>,
    device: &B::Device,
) -> Seen {
    let area = tile.width * tile.height;
    let valid = tile.valid();
    let mut input = Vec::with_capacity(tile.image.len());
    for (plane, (mean, std)) in tile.image.chunks_exact(area).zip(spec.mean.iter().zip(&spec.std)) {
        input.extend(plane.iter().zip(&valid).map(|(&value, &valid)| {
            if valid { ((f64::from(value) / 255.0 - mean) / std) as f32 } else { 0.0 }
        }));
    }
    let (bands, side) = (tile.bands, tile.width);
    let batch = Batch { positions: vec![(0, 0)], bands, window_px: side, pixels: input };
    let data = TensorData::new(batch.pixels.clone(), [1, bands, side, side]);
    let heads = network.heads(Tensor::from_data(data, device), Mode::Eval);
    let values = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    let present = heads.image.map(|image| values(sigmoid(image.class).into_data()));
    let logits = values(heads.logits.into_data());
    Seen {
        pixels: infer::probabilities(&logits, side * side, class, spec),
        class: present.and_then(|present| present.first().copied()),
    }
}

/// Hard where too much that is none is taken for a building.
fn by_hand(tile: usize, pixels: &TilePixels, seen: &Seen, options: &Options) -> Judged {
    let known = pixels.mask.iter().filter(|label| **label != IGNORE).count();
    let wrong = pixels.mask.iter().zip(&seen.pixels);
    let wrong = wrong.filter(|(label, p)| {
        **label != IGNORE && !is_building(**label) && f64::from(**p) >= options.threshold
    });
    let share = wrong.count() as f64 / known.max(1) as f64;
    Judged {
        selected: Selected { tile, labels: None },
        teaches: share >= options.false_share,
        badness: share,
        has_class: seen.class.is_some(),
    }
}

/// Surely empty where nothing says building.
fn empty(tile: usize, pixels: &TilePixels, seen: &Seen, options: &Options) -> Judged {
    let known = |label: &u8| *label != IGNORE;
    let scores = seen.pixels.iter().zip(&pixels.mask).filter(|(_, label)| known(label));
    let highest = scores.map(|(p, _)| *p).fold(seen.class.unwrap_or(0.0), f32::max);
    let background = pixels.mask.iter().map(|label| if known(label) { BACKGROUND } else { IGNORE });
    Judged {
        selected: Selected { tile, labels: Some(background.collect()) },
        teaches: f64::from(highest) < options.empty_below,
        badness: 1.0 - f64::from(highest),
        has_class: seen.class.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::BUILDING;

    fn tile(mask: [u8; 4]) -> TilePixels {
        TilePixels { width: 2, height: 2, bands: 1, image: vec![9; 4], mask: mask.to_vec() }
    }

    #[test]
    fn buildings_that_are_none_make_a_tile_hard_and_ignored_pixels_do_not() {
        let seen = Seen { pixels: vec![0.9, 0.9, 0.1, 0.9], class: None };
        let options = Options { false_share: 0.3, ..Options::default() };
        let hard = by_hand(3, &tile([BACKGROUND, BUILDING, BACKGROUND, IGNORE]), &seen, &options);
        assert!(hard.teaches && (hard.badness - 1.0 / 3.0).abs() < 1e-12);
        let fine = by_hand(3, &tile([BUILDING, BUILDING, BACKGROUND, IGNORE]), &seen, &options);
        assert!(!fine.teaches && fine.badness == 0.0);
    }

    #[test]
    fn a_tile_is_empty_only_if_both_its_class_and_every_known_pixel_say_so() {
        let options = Options::default();
        let judge = |pixels: [f32; 4], class: Option<f32>| {
            empty(
                0,
                &tile([10, 20, 30, IGNORE]),
                &Seen { pixels: pixels.to_vec(), class },
                &options,
            )
        };
        let nothing = judge([0.1, 0.05, 0.0, 0.9], Some(0.1));
        assert!(nothing.teaches);
        assert_eq!(nothing.selected.labels.unwrap(), [BACKGROUND, BACKGROUND, BACKGROUND, IGNORE]);
        assert!(!judge([0.1, 0.3, 0.0, 0.0], Some(0.1)).teaches);
        assert!(!judge([0.1, 0.1, 0.0, 0.0], Some(0.3)).teaches);
        assert!(judge([0.1, 0.1, 0.0, 0.0], None).teaches);
    }
}
