//! Every combination of settings on every scene.

use geo::MultiPolygon;
use rayon::prelude::*;

use super::{Settings, Trial, TuneOptions};
use crate::config::polygonize::PolygonizeOptions;
use crate::error::{Error, Result};
use crate::evaluate::SceneInputs;
use crate::evaluate::buildings::{BuildingCounts, Pair, count, matched, pairs_above};
use crate::evaluate::pass::validity;
use crate::evaluate::pixels::Confusion;
use crate::evaluate::region::{Judged, Region, points_inside};
use crate::evaluate::scanline::{PixelShape, burn};
use crate::evaluate::scene::{check_overlap, read_vectors};
use crate::geo::{GeoTransform, Grid, Window};
use crate::polygonize::{NODATA, Outline, Rows, Scores, polygons_of};
use crate::progress::Progress;
use crate::truth::is_building;
use crate::truth::{IGNORE, Truth, TruthOptions};

/// Runs `settings`, in which those that differ in the smallest area alone stand together.
pub(super) fn all(
    options: &TuneOptions,
    settings: &[Settings],
    progress: Progress,
) -> Result<Vec<Trial>> {
    let areas = options.min_areas_m2.len();
    let work = options.scenes.len() * settings.len() / areas;
    let bar = progress.bar("tune", work as u64, "trials");
    let mut sums = vec![(Confusion::default(), BuildingCounts::default()); settings.len()];
    for inputs in &options.scenes {
        let scene = TuneScene::read(inputs, &options.base)?;
        let parts: Vec<Vec<(Confusion, BuildingCounts)>> = settings
            .par_chunks(areas)
            .map(|group| {
                let counts = scene.try_group(group, options);
                bar.inc(1);
                counts
            })
            .collect();
        for (sum, part) in sums.iter_mut().zip(parts.into_iter().flatten()) {
            *sum = (sum.0.plus(part.0), sum.1.plus(part.1));
        }
    }
    bar.finish();
    Ok(settings
        .iter()
        .zip(sums)
        .map(|(&s, (pixels, found))| Trial::new(s, pixels, found))
        .collect())
}

/// A scene in memory.
struct TuneScene {
    scores: Rows,
    /// What is tried on it, as far as it is the same in all trials.
    base: PolygonizeOptions,
    /// Which pixels count.
    valid: Vec<bool>,
    grid: Grid,
    /// Labels of the truth.
    labels: Vec<u8>,
    true_pixels: u64,
    truth: Judged,
    region: Region,
    to_pixels: GeoTransform,
}

impl TuneScene {
    fn read(inputs: &SceneInputs, base: &PolygonizeOptions) -> Result<Self> {
        let path = inputs
            .scores
            .as_ref()
            .ok_or_else(|| Error::config(inputs.name.clone(), "needs a scores raster"))?;
        let source = Scores::open(path)?;
        let grid = source.grid().clone();
        let window = Window::whole(grid.width, grid.height);
        let scores = source.read_rows(0, grid.height)?;
        let without_predicted = SceneInputs { predicted: None, ..inputs.clone() };
        let vectors = read_vectors(&without_predicted, Some(&grid))?;
        let aoi = vectors.aoi.map(|aoi| aoi.polygons);
        let region = Region::new(aoi.as_deref(), Some(&grid));
        check_overlap(inputs, &vectors.truth, &region)?;
        let truth = vectors.truth.polygons;
        let of_scene = match &inputs.scene {
            Some(path) => validity(path, &inputs.scene_options, &grid)?,
            None => None,
        };
        let valid = of_scene
            .unwrap_or_else(|| scores.scores.iter().map(|&score| score != NODATA).collect());
        let to_pixels = grid.transform.invert().unwrap_or(GeoTransform::PIXEL);
        let mut labels = Truth::prepare(&[], aoi.as_deref(), &grid, &TruthOptions::default())?
            .rasterize(&grid, window, &valid)?;
        let shapes: Vec<PixelShape> =
            truth.iter().map(|shape| PixelShape::new(shape, &to_pixels)).collect();
        burn(&mut labels, &shapes, window);
        let mut judged = region.judge(&truth);
        for (row, col, index) in points_inside(&truth, &grid) {
            judged.counts[index] &= valid[row * grid.width + col];
        }
        let true_pixels = labels.iter().filter(|&&label| is_building(label)).count() as u64;
        let base = source.fitting(base);
        Ok(Self {
            scores,
            base,
            valid,
            grid,
            labels,
            true_pixels,
            truth: judged,
            region,
            to_pixels,
        })
    }

    /// Settings that differ in the smallest area alone.
    fn try_group(
        &self,
        group: &[Settings],
        options: &TuneOptions,
    ) -> Vec<(Confusion, BuildingCounts)> {
        let least = group.iter().map(|s| s.min_area_m2).fold(f64::INFINITY, f64::min);
        let polygonize = PolygonizeOptions {
            threshold: group[0].threshold,
            opening_m: group[0].opening_m,
            closing_m: group[0].closing_m,
            min_area_m2: least,
            ..self.base.clone()
        };
        let outlines = polygons_of(&self.scores, &self.grid, &polygonize);
        let pixels: Vec<Confusion> = outlines.iter().map(|o| self.pixels_of(o)).collect();
        let areas_m2: Vec<f64> = outlines.iter().map(|outline| outline.area_m2).collect();
        let polygons: Vec<MultiPolygon<f64>> =
            outlines.into_iter().map(|outline| outline.polygon.into()).collect();
        let mut found = self.region.judge(&polygons);
        for (row, col, index) in points_inside(&polygons, &self.grid) {
            found.counts[index] &= self.valid[row * self.grid.width + col];
        }
        let pairs = pairs_above(&found.shapes, &self.truth.shapes, options.iou_limit);
        group
            .iter()
            .map(|settings| {
                let kept = |index: usize| areas_m2[index] >= settings.min_area_m2;
                (self.confusion(&pixels, kept), count_kept(&pairs, &found, &self.truth, kept))
            })
            .collect()
    }

    /// True and false positives among the pixels of one polygon. Polygons of one run share no pixel.
    fn pixels_of(&self, outline: &Outline) -> Confusion {
        let shape = PixelShape::new(&outline.polygon.clone().into(), &self.to_pixels);
        let mut counts = Confusion::default();
        shape.spans(self.grid.width, 0..self.grid.height, |row, columns| {
            for &label in &self.labels[row * self.grid.width..][columns] {
                if is_building(label) {
                    counts.true_positive += 1;
                } else if label != IGNORE {
                    counts.false_positive += 1;
                }
            }
        });
        counts
    }

    fn confusion(&self, pixels: &[Confusion], kept: impl Fn(usize) -> bool) -> Confusion {
        let kept = pixels.iter().enumerate().filter(|(index, _)| kept(*index));
        let sum = kept.fold(Confusion::default(), |sum, (_, part)| sum.plus(*part));
        // Simplified outlines of neighbours may overlap by a sliver.
        let false_negative = self.true_pixels.saturating_sub(sum.true_positive);
        Confusion { false_negative, ..sum }
    }
}

fn count_kept(
    pairs: &[Pair],
    found: &Judged,
    truth: &Judged,
    kept: impl Fn(usize) -> bool,
) -> BuildingCounts {
    let pairs: Vec<Pair> = pairs.iter().filter(|pair| kept(pair.predicted)).copied().collect();
    let matches = matched(pairs, &found.shapes, &truth.shapes);
    let counts: Vec<bool> =
        found.counts.iter().enumerate().map(|(index, &counts)| counts && kept(index)).collect();
    count(&matches, &counts, &truth.counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::overlap::Shape;

    #[test]
    fn polygons_below_the_smallest_area_count_as_if_they_were_not_there() {
        let square = |x: f64, side: f64| -> MultiPolygon<f64> {
            geo::Rect::new((x, 0.0), (x + side, side)).to_polygon().into()
        };
        let town = [square(0.0, 2.0), square(10.0, 4.0)];
        let truth = Region::new(None, None).judge(&town);
        let found = Region::new(None, None).judge(&town);
        let pairs = pairs_above(&found.shapes, &truth.shapes, 0.5);
        let kept = |index: usize| found.shapes.get(index).is_some_and(|s: &Shape| s.area() > 5.0);
        let counts = count_kept(&pairs, &found, &truth, kept);
        let by_hand = BuildingCounts { true_positive: 1, false_positive: 0, false_negative: 1 };
        assert_eq!(counts, by_hand);
    }
}
