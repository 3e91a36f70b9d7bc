//! The feature maps of a layer for one window.

use std::path::Path;

use image::{Rgb, RgbImage};

use super::{Subject, unknown, values};
use crate::error::Result;
use crate::model::{self, tap};
use crate::picture::grid::{self, Cell};
use crate::picture::ramp;

/// Side of a map in the picture, pixels.
const SIDE_PX: u32 = 128;
/// Percentiles of a channel's values that become the darkest and the brightest colour.
const DARKEST: f64 = 0.02;
const BRIGHTEST: f64 = 0.98;

/// What came out of a layer for one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Activations {
    /// The layer.
    pub layer: String,
    /// Number of channels.
    pub channels: usize,
    /// Rows of a map.
    pub height: usize,
    /// Columns of a map.
    pub width: usize,
    /// `[channel, row, col]`.
    pub values: Vec<f32>,
}

/// Runs the network on the window as far as it goes, and keeps what comes out of `layer`.
///
/// # Errors
/// No layer has this name; the model cannot be read.
pub fn of(subject: &Subject, layer: &str) -> Result<Activations> {
    crate::with_backend!(&subject.device, |B, handle| {
        let (_, network) = model::load::<B>(&subject.model, &handle)?;
        let (_, recording) = tap::record(&network, subject.images::<B>(&handle), Some(layer));
        let Some(maps) = recording.wanted else {
            let known = recording.layers.iter().map(|layer| layer.name.as_str());
            return Err(unknown("--layer", layer, known));
        };
        let [_, channels, height, width] = maps.dims();
        Ok(Activations { layer: layer.to_owned(), channels, height, width, values: values(maps)? })
    })
}

impl Activations {
    /// The channels, those that vary most over the window first (by their standard deviation).
    pub fn most_varied_first(&self) -> Vec<usize> {
        let area = (self.height * self.width) as f64;
        let variance = |map: &[f32]| {
            let mean = map.iter().map(|v| f64::from(*v)).sum::<f64>() / area;
            map.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / area
        };
        let maps = self.values.chunks_exact(self.height * self.width);
        let variances: Vec<f64> = maps.map(variance).collect();
        let mut order: Vec<usize> = (0..self.channels).collect();
        order.sort_by(|a, b| variances[*b].total_cmp(&variances[*a]));
        order
    }

    /// A map in colours, from its 2nd to its 98th percentile, with its number and these two values.
    fn cell(&self, channel: usize) -> Cell {
        let area = self.height * self.width;
        let map = &self.values[channel * area..(channel + 1) * area];
        let mut sorted = map.to_vec();
        sorted.sort_by(f32::total_cmp);
        let percentile = |share: f64| sorted[((area - 1) as f64 * share).round() as usize];
        let (low, high) = (percentile(DARKEST), percentile(BRIGHTEST));
        let extent = if high > low { high - low } else { 1.0 };
        let rgb = RgbImage::from_fn(self.width as u32, self.height as u32, |x, y| {
            let value = map[y as usize * self.width + x as usize];
            Rgb(ramp::colour((value - low) / extent))
        });
        let range = if high > low { format!("{low:.2} to {high:.2}") } else { format!("{low:.2}") };
        Cell { rgb, caption: format!("#{channel}: {range}") }
    }
}

/// Writes a PNG (replaced if there): the window, and the maps of at most `most` channels of the layer, the most varied first,
/// each in colours of its own range.
///
/// # Errors
/// The file cannot be written.
pub fn write(out: &Path, subject: &Subject, found: &Activations, most: usize) -> Result<()> {
    let order = found.most_varied_first();
    let shown = order.len().min(most);
    let mut cells = vec![Cell { rgb: subject.picture(), caption: "the window".to_owned() }];
    cells.extend(order[..shown].iter().map(|channel| found.cell(*channel)));
    let title = format!("{} of {}", found.layer, subject.spec.title());
    let note = format!(
        "{shown} of {} channels of {} x {} values, the most varied first; dark to bright: 2nd to 98th percentile of each",
        found.channels, found.height, found.width
    );
    grid::write(out, (&title, &note), &cells, grid::columns(cells.len()), SIDE_PX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_by_their_deviation_and_outliers_do_not_set_the_colours() {
        let area = 100;
        let values: Vec<f32> = (0..3 * area)
            .map(|i| match (i / area, i % area) {
                (0, _) => 5.0,
                (1, 7) => 1e6,
                (1, at) => at as f32,
                (_, at) => 10.0 * (at % 2) as f32,
            })
            .collect();
        let found = Activations { layer: "x".into(), channels: 3, height: 10, width: 10, values };
        assert_eq!(found.most_varied_first(), [1, 2, 0]);
        let cell = found.cell(1);
        assert_eq!(cell.caption, "#1: 2.00 to 98.00");
        assert_eq!(cell.rgb.get_pixel(7, 0).0, ramp::colour(1.0));
        assert_eq!(cell.rgb.get_pixel(0, 5).0, ramp::colour(0.5));
        assert_eq!(found.cell(0).caption, "#0: 5.00");
    }
}
