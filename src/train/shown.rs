//! What the progress bar says of a training.

use super::log::StepEntry;
use super::metrics::Confusion;

/// Steps behind the IoU on the bar.
const SHOWN_STEPS: usize = 20;

/// The bar's message: numbers of single steps jump too much to be read.
#[derive(Default)]
pub(super) struct Shown {
    loss: Option<f64>,
    pixels: Vec<Confusion>,
    tiles_per_s: Option<f64>,
}

impl Shown {
    pub(super) fn update(&mut self, entry: &StepEntry) {
        let smooth =
            |old: Option<f64>, new: f64| Some(old.map_or(new, |old| 0.9 * old + 0.1 * new));
        self.loss = smooth(self.loss, entry.loss);
        self.tiles_per_s = smooth(self.tiles_per_s, entry.tiles_per_s);
        self.pixels.push(entry.pixels);
        if self.pixels.len() > SHOWN_STEPS {
            self.pixels.remove(0);
        }
    }

    pub(super) fn text(&self) -> String {
        let mut pixels = Confusion::default();
        for &counts in &self.pixels {
            pixels.add(counts);
        }
        format!(
            "loss {:.3} IoU {:.3} {:.1} tiles/s",
            self.loss.unwrap_or_default(),
            pixels.iou(),
            self.tiles_per_s.unwrap_or_default()
        )
    }
}
