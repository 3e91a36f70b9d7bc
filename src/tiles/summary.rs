//! What all the tiles of a set come to: statistics, counts, warnings.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::dataset::DatasetConfig;
use crate::truth::TruthOptions;

use super::journal::{BandSums, Outcome};
use super::plan::ScenePlan;
use super::prepare::Dataset;
use super::set::{FORMAT, Labels, Split, TileCounts, TileSetInfo};
use super::{Cut, kept};

/// Adds what only shows when all tiles are cut.
pub(super) fn warn(
    config: &DatasetConfig,
    cut: &[Cut<'_>],
    plans: &[ScenePlan],
    overlaps: usize,
    warnings: &mut Vec<String>,
) {
    if overlaps > 0 {
        warnings.push(format!(
            "scenes overlap: {overlaps} tiles left out, because a tile of another split or fold covers \
             the same ground"
        ));
    }
    for split in Split::ALL {
        let wanted = plans.iter().flat_map(|plan| plan.tiles.iter().map(|tile| tile.group.split));
        let dropped =
            plans.iter().flat_map(|plan| plan.dropped.iter().map(|(group, _)| group.split));
        let planned = wanted.chain(dropped).any(|planned| planned == split);
        if planned && !kept(cut).any(|(_, tile, _)| tile.group.split == split) {
            warnings.push(format!(
                "no {split} tile is left: look at `tiles.min_valid_fraction` ({}), the AOI and the gap",
                config.tiles.min_valid_fraction
            ));
        }
    }
    if !kept(cut).any(|(_, _, kept)| kept.sums.is_some()) {
        warnings.push("no training tiles: the set holds no band statistics".to_owned());
    }
}

/// The set's `tileset.json`.
pub(super) fn describe(
    config: &DatasetConfig,
    dataset: &Dataset,
    cut: &[Cut<'_>],
    plans: &[ScenePlan],
    fingerprint: String,
) -> TileSetInfo {
    let mut sums = BandSums::default();
    for tile in kept(cut).filter_map(|(_, _, kept)| kept.sums.as_ref()) {
        sums.add(tile);
    }
    let (band_mean, band_std) = sums.mean_std(dataset.bands);
    let truth = TruthOptions {
        all_touched: config.truth.all_touched,
        boundary_m: config.truth.boundary_m,
        contact_m: config.truth.contact_m,
    };
    TileSetInfo {
        format: FORMAT,
        bands: dataset.bands,
        band_names: band_names(dataset.bands),
        value_range: dataset.value_range,
        labels: if config.is_soft() { Labels::Soft } else { Labels::Classes },
        classes: truth.classes(),
        tile_px: config.tiles.tile_px,
        band_mean,
        band_std,
        folds: config.split.folds,
        scenes: dataset.infos.clone(),
        counts: count(dataset, cut, plans),
        warnings: dataset.warnings.clone(),
        fingerprint,
    }
}

fn band_names(bands: usize) -> Vec<String> {
    if bands == 3 {
        return ["red", "green", "blue"].map(str::to_owned).to_vec();
    }
    (1..=bands).map(|band| format!("band{band}")).collect()
}

fn count(dataset: &Dataset, cut: &[Cut<'_>], plans: &[ScenePlan]) -> Vec<TileCounts> {
    let mut lines: BTreeMap<(Split, usize, usize), (TileCounts, BTreeSet<usize>)> = BTreeMap::new();
    for (number, (tiles, plan)) in cut.iter().zip(plans).enumerate() {
        let scene = &dataset.scenes[number];
        let mut line =
            |split: Split,
             scale: usize,
             f: &mut dyn FnMut(&mut TileCounts, &mut BTreeSet<usize>)| {
                let (counts, buildings) =
                    lines.entry((split, scene.part_of, scale)).or_insert_with(|| {
                        let counts = TileCounts {
                            split,
                            scene: scene.name.clone(),
                            scale: scene.scales[scale].name.clone(),
                            tiles: 0,
                            buildings: 0,
                            skipped_nodata: 0,
                            skipped_empty: 0,
                            skipped_overlap: 0,
                        };
                        (counts, BTreeSet::new())
                    });
                f(counts, buildings);
            };
        for (tile, outcome) in tiles {
            line(tile.group.split, tile.scale, &mut |counts, buildings| match outcome {
                Outcome::Kept(kept) => {
                    counts.tiles += 1;
                    buildings.extend(&kept.buildings);
                }
                Outcome::NoData => counts.skipped_nodata += 1,
                Outcome::Empty => counts.skipped_empty += 1,
            });
        }
        for (group, scale) in &plan.dropped {
            line(group.split, *scale, &mut |counts, _| counts.skipped_overlap += 1);
        }
    }
    lines
        .into_values()
        .map(|(counts, buildings)| TileCounts { buildings: buildings.len(), ..counts })
        .collect()
}
