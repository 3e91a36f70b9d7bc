//! Which ground of which scene is for what.

use std::collections::HashMap;
use std::path::Path;

use crate::config::dataset::{DatasetConfig, SplitChoice, SplitMode};
use crate::error::{Error, Result};
use crate::geo::Grid;

use super::plan::Scale;
use super::prepare::Opened;
use super::split::{Blocks, Division, by_scene};

/// Beyond this a configuration is a mistake (a world map at drone resolution), not a plan: the list of
/// tiles alone would take gigabytes.
const MOST_TILES: f64 = 5e6;
/// Finer tiles than this many times the scene's own resolution hold nothing new.
const FINER_WARNING: f64 = 2.5;

/// Divides every scene, or takes it whole; checks that tiles of the configured scales make sense there.
pub(super) fn divide(
    config: &DatasetConfig,
    names: &[String],
    opened: &[Opened],
    warnings: &mut Vec<String>,
) -> Result<Vec<Division>> {
    let choices: Vec<SplitChoice> = config.scene.iter().map(|entry| entry.split).collect();
    let in_blocks =
        |choice: SplitChoice| choice == SplitChoice::Auto && config.split.mode == SplitMode::Blocks;
    let whole: Vec<usize> = (0..choices.len()).filter(|&i| !in_blocks(choices[i])).collect();
    let whole_choices: Vec<SplitChoice> = whole.iter().map(|&i| choices[i]).collect();
    let groups: HashMap<usize, _> =
        whole.iter().copied().zip(by_scene(&whole_choices, &config.split)).collect();
    let mut divisions = Vec::new();
    for (at, scene) in opened.iter().enumerate() {
        check_count(&config.scene[at].image, &scene.native, config)?;
        if let Some(gsd_m) = scene.native.mean_gsd_m() {
            for &wanted in &config.tiles.gsd_m {
                if gsd_m > wanted * FINER_WARNING {
                    warnings.push(format!(
                        "{}: its pixels are {gsd_m:.3} m, tiles at {wanted} m are blown up",
                        names[at]
                    ));
                }
            }
        }
        divisions.push(match groups.get(&at) {
            Some(group) => Division::Whole(*group),
            None => Division::Blocks(blocks(config, &names[at], at, &scene.native, warnings)?),
        });
    }
    Ok(divisions)
}

fn check_count(image: &Path, native: &Grid, config: &DatasetConfig) -> Result<()> {
    let stride = (config.tiles.tile_px - config.tiles.overlap_px) as f64;
    let count: f64 = Scale::of(native, &config.tiles)
        .iter()
        .map(|scale| {
            (scale.grid.width as f64 / stride + 1.0) * (scale.grid.height as f64 / stride + 1.0)
        })
        .sum();
    if count > MOST_TILES {
        return Err(Error::input(
            image,
            format!("a scene of at most {MOST_TILES:.0} tiles"),
            format!("{count:.0} at the configured scales"),
            "check `tiles.gsd_m` and `tiles.scales` against the scene's own pixels, or cut it in parts",
        ));
    }
    Ok(())
}

fn blocks(
    config: &DatasetConfig,
    name: &str,
    at: usize,
    native: &Grid,
    warnings: &mut Vec<String>,
) -> Result<Blocks> {
    let image = &config.scene[at].image;
    let Some(gsd_m) = native.gsd_m else {
        return Err(Error::input(
            image,
            "a georeferenced scene, as `split.mode = \"blocks\"` needs",
            "no georeference",
            "give the scene a `split` of its own",
        ));
    };
    // The coarsest tile, in the scene's pixels.
    let tile_px = Scale::of(native, &config.tiles)
        .iter()
        .map(|scale| scale.step(native))
        .fold((0.0_f64, 0.0_f64), |most, step| (most.0.max(step.0), most.1.max(step.1)));
    let side = config.tiles.tile_px as f64;
    let tile_px = (tile_px.0 * side, tile_px.1 * side);
    let tile_m = (tile_px.0 * gsd_m.0).max(tile_px.1 * gsd_m.1);
    let in_px = |metres: f64| (metres / gsd_m.0, metres / gsd_m.1);
    let gap_px = match config.split.gap_m {
        None => tile_px,
        Some(gap_m) if gap_m + 1e-6 < tile_m => {
            return Err(Error::config(
                "split.gap_m",
                format!(
                    "{name}: expected at least one coarsest tile, {tile_m:.2} m, found {gap_m}"
                ),
            ));
        }
        Some(gap_m) => in_px(gap_m),
    };
    let least = ((tile_px.0 + gap_px.0) * gsd_m.0).max((tile_px.1 + gap_px.1) * gsd_m.1);
    let block_px = match config.split.block_m {
        None => (4.0 * tile_px.0.max(gap_px.0), 4.0 * tile_px.1.max(gap_px.1)),
        Some(block_m) if block_m + 1e-6 < least => {
            return Err(Error::config(
                "split.block_m",
                format!(
                    "{name}: expected at least a coarsest tile and the gap, {least:.2} m, found {block_m}"
                ),
            ));
        }
        Some(block_m) => in_px(block_m),
    };
    let blocks = Blocks::draw((native.width, native.height), block_px, gap_px, &config.split, name);
    if blocks.count() == 1 {
        warnings.push(format!(
            "{name}: the scene is one block of {:.0} m, all of it is {}",
            block_px.0 * gsd_m.0,
            blocks.group(0).split
        ));
    }
    Ok(blocks)
}
