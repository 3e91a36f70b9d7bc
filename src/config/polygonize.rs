//! Section `[polygonize]`: scores -> buildings.

use serde::{Deserialize, Serialize};

use super::regularize::Regularize;
use crate::error::{Error, Result};

/// How scores become building outlines. Lengths are metres on the ground, areas square metres.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolygonizeOptions {
    /// A pixel is building where its score reaches this probability, 0..=1.
    pub threshold: f64,
    /// 4: pixels that touch by a side are one building. 8: those that touch by a corner, too.
    pub connectivity: u8,
    /// Radius of the closing, which joins what a gap of twice the radius parts. 0 or less than a pixel: none.
    pub closing_m: f64,
    /// The closing fills a pixel only where its score reaches this probability, 0..=1: a gap of lower scores parts buildings,
    /// however narrow. 0: any pixel.
    pub closing_threshold: f64,
    /// Radius of the opening, which removes what is narrower than twice the radius; it comes after the
    /// closing. 0 or less than a pixel: none.
    pub opening_m: f64,
    /// Smaller buildings are left out.
    pub min_area_m2: f64,
    /// Buildings that are narrower on average (twice the area over the perimeter) are left out.
    pub min_width_m: f64,
    /// Smaller holes are filled.
    pub min_hole_m2: f64,
    /// Along pixel edges, or through the pixels where the scores reach the threshold.
    pub outline: OutlineForm,
    /// Buildings that touch come apart where the width of the neck between them is at most this share of that of the narrower
    /// one, 0..=1. 0: they stay one.
    pub split_neck: f64,
    /// Buildings that touch come apart along pixels that are a wall with this probability, 0..=1, where a model with a class `boundary`
    /// or `contact` says so. 0: walls are not looked at.
    pub split_wall: f64,
    /// No building is split into smaller parts than this.
    pub split_min_m2: f64,
    /// How far a simplified outline may stray from the outline along or through the pixels. Along pixel edges anything above 0 is
    /// taken as one pixel at least, below which stair steps stay. 0: nothing is simplified, nor made regular.
    pub simplify_m: f64,
    /// Right angles and circles.
    pub regularize: Regularize,
}

/// Where raw outlines run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutlineForm {
    /// Along pixel edges.
    Pixel,
    /// Where the scores, interpolated between pixel centres, reach the threshold.
    #[default]
    Subpixel,
}

impl Default for PolygonizeOptions {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            connectivity: 4,
            closing_m: 0.0,
            closing_threshold: 0.0,
            opening_m: 0.0,
            min_area_m2: 5.0,
            min_width_m: 0.6,
            min_hole_m2: 5.0,
            outline: OutlineForm::Subpixel,
            split_neck: 0.7,
            split_wall: 0.5,
            split_min_m2: 15.0,
            simplify_m: 0.5,
            regularize: Regularize::default(),
        }
    }
}

impl PolygonizeOptions {
    /// Outlines along the pixel edges of every component: nothing smoothed, dropped or filled.
    pub fn exact(threshold: f64) -> Self {
        Self {
            threshold,
            min_area_m2: 0.0,
            min_width_m: 0.0,
            min_hole_m2: 0.0,
            outline: OutlineForm::Pixel,
            split_neck: 0.0,
            split_wall: 0.0,
            simplify_m: 0.0,
            ..Self::default()
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key that is out of range.
    pub fn validate(&self) -> Result<()> {
        let probabilities = [
            ("threshold", self.threshold),
            ("closing_threshold", self.closing_threshold),
            ("split_wall", self.split_wall),
        ];
        for (key, value) in probabilities {
            if !(0.0..=1.0).contains(&value) {
                let problem = format!("{value} is not a probability; choose 0 to 1");
                return Err(Error::config(format!("polygonize.{key}"), problem));
            }
        }
        if ![4, 8].contains(&self.connectivity) {
            let problem = format!("{} neighbours; choose 4 or 8", self.connectivity);
            return Err(Error::config("polygonize.connectivity", problem));
        }
        if self.connectivity == 8 && self.split_neck > 0.0 {
            let problem = "8 neighbours join what touches by a corner, and no neck is narrower: set polygonize.split_neck=0";
            return Err(Error::config("polygonize.connectivity", problem));
        }
        if !(0.0..=1.0).contains(&self.split_neck) {
            let problem = format!("{} is not a share; choose 0 to 1", self.split_neck);
            return Err(Error::config("polygonize.split_neck", problem));
        }
        let lengths_and_areas = [
            ("closing_m", self.closing_m, MAX_RADIUS_M),
            ("opening_m", self.opening_m, MAX_RADIUS_M),
            ("min_area_m2", self.min_area_m2, f64::MAX),
            ("min_width_m", self.min_width_m, f64::MAX),
            ("min_hole_m2", self.min_hole_m2, f64::MAX),
            ("split_min_m2", self.split_min_m2, f64::MAX),
            ("simplify_m", self.simplify_m, f64::MAX),
        ];
        for (key, value, most) in lengths_and_areas {
            if !(0.0..=most).contains(&value) {
                let most =
                    if most < f64::MAX { format!(" and at most {most}") } else { String::new() };
                let problem = format!("{value} is out of range; choose a number from 0{most}");
                return Err(Error::config(format!("polygonize.{key}"), problem));
            }
        }
        self.regularize.validate()
    }
}

/// Closing and opening keep rows of the scene in memory for twice their radius; nobody closes gaps of 200 m.
pub const MAX_RADIUS_M: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        PolygonizeOptions::default().validate().unwrap();
        PolygonizeOptions::exact(0.3).validate().unwrap();
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let wrong = [
            ("threshold", PolygonizeOptions { threshold: 1.5, ..Default::default() }),
            ("threshold", PolygonizeOptions { threshold: f64::NAN, ..Default::default() }),
            (
                "closing_threshold",
                PolygonizeOptions { closing_threshold: 1.1, ..Default::default() },
            ),
            ("connectivity", PolygonizeOptions { connectivity: 6, ..Default::default() }),
            ("connectivity", PolygonizeOptions { connectivity: 8, ..Default::default() }),
            ("split_neck", PolygonizeOptions { split_neck: 1.1, ..Default::default() }),
            ("split_wall", PolygonizeOptions { split_wall: -0.1, ..Default::default() }),
            ("opening_m", PolygonizeOptions { opening_m: -1.0, ..Default::default() }),
            ("closing_m", PolygonizeOptions { closing_m: 1e9, ..Default::default() }),
            ("simplify_m", PolygonizeOptions { simplify_m: f64::NAN, ..Default::default() }),
        ];
        for (key, options) in wrong {
            let error = options.validate().unwrap_err().to_string();
            assert!(error.contains(&format!("polygonize.{key}")), "{error}");
        }
    }
}
