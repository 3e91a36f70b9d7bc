//! What `infer` and `label` share: scenes, and the models that score them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::args::{ConfigArgs, DeviceArgs};
use super::log;
use crate::config::Precision;
use crate::config::ensemble::Mean;
use crate::config::infer::InferConfig;
use crate::config::tta::Symmetries;
use crate::error::{Error, Result};
use crate::infer::{Ensemble, Region};
use crate::stac::{self, Item};

/// Scenes, models, and how these look at those.
#[derive(Debug, clap::Args)]
pub struct Scoring {
    /// Rasters that GDAL opens: files, URLs, /vsi paths, or patterns in quotes; STAC items and collections (.json)
    #[arg(required = true, value_name = "SCENE")]
    scenes: Vec<String>,
    /// Model file; repeatable: the mean of several models' scores, on the grid of the first
    #[arg(short, long, value_name = "FILE", required = true)]
    model: Vec<PathBuf>,
    #[command(flatten)]
    averaging: Averaging,
    /// Also score windows flipped and turned: none, flips, turns, d4, or symmetries with commas between; the same as --set
    /// inference.tta=VIEWS
    #[arg(long, value_name = "VIEWS")]
    tta: Option<Symmetries>,
    /// Only inside this box: minimum and maximum longitude and latitude (WGS 84)
    #[arg(long, value_name = "MINX,MINY,MAXX,MAXY", allow_hyphen_values = true)]
    bbox: Option<BoundingBox>,
    /// Only inside the polygons of this vector file
    #[arg(long, value_name = "FILE")]
    aoi: Option<PathBuf>,
    /// Windows computed at once; the same as --set inference.batch=N
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Number format of the network; the same as --set inference.precision=FORMAT
    #[arg(long, value_name = "FORMAT")]
    precision: Option<Precision>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How several scores become one.
#[derive(Debug, clap::Args)]
pub struct Averaging {
    /// What each model or file counts, once for each in their order; the same as --set ensemble.weights=[W,..]
    #[arg(long, value_name = "W", value_delimiter = ',')]
    weight: Vec<f64>,
    /// arithmetic, geometric or logit; the same as --set ensemble.mean=MEAN
    #[arg(long, value_name = "MEAN")]
    mean: Option<Mean>,
    /// Leave out, block by block, scores that say little and keep the others down; the same as --set ensemble.drop_outlier=true
    #[arg(long)]
    drop_outlier: bool,
}

impl Averaging {
    /// The options that were given, as `key=value` texts.
    pub fn sets(&self) -> Vec<String> {
        let weights =
            (!self.weight.is_empty()).then(|| format!("ensemble.weights={:?}", self.weight));
        let mean = self.mean.map(|mean| format!("ensemble.mean={}", mean.name()));
        let rule = self.drop_outlier.then(|| "ensemble.drop_outlier=true".to_owned());
        [weights, mean, rule].into_iter().flatten().collect()
    }
}

impl Scoring {
    /// The configuration with what the flags say; `more` are those of the command, as `key=value` texts.
    pub fn configuration(&self, more: &[String]) -> Result<InferConfig> {
        let tta = self.tta.as_ref().map(|views| {
            let names = views.list().iter().map(|symmetry| symmetry.name());
            format!("inference.tta={}", names.collect::<Vec<_>>().join(","))
        });
        let batch = self.batch.map(|batch| format!("inference.batch={batch}"));
        let format = self.precision.map(|format| format!("inference.precision={}", format.name()));
        let flags = [tta, batch, format]
            .into_iter()
            .flatten()
            .chain(self.averaging.sets())
            .chain(more.iter().cloned());
        let config: InferConfig = self.config.load(&flags.collect::<Vec<_>>())?;
        config.validate()?;
        Ok(config)
    }

    /// The scenes, in order, those of catalogues in theirs; what is no pattern stays as it is, to be opened or
    /// refused later.
    pub fn scenes(&self) -> Result<Vec<Item>> {
        let mut scenes = Vec::new();
        for path in expand(&self.scenes)? {
            if stac::is_catalogue(&path) {
                scenes.extend(stac::items(&path, self.bbox.map(|bbox| bbox.corners))?);
            } else {
                scenes.push(Item { scene: path, date: None });
            }
        }
        Ok(scenes)
    }

    /// The models, on the device.
    pub fn ensemble(&self, config: &InferConfig) -> Result<Ensemble> {
        Ensemble::load(&self.model, config, &self.device.resolve()?)
    }

    /// Files that are read beside the scenes.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        self.model.iter().chain(&self.aoi).map(PathBuf::as_path)
    }

    /// Which part of each scene.
    pub fn region(&self) -> Region {
        Region { bbox: self.bbox.map(|bbox| bbox.corners), aoi: self.aoi.clone() }
    }
}

/// Does something with every scene. One that fails is reported and the others go on, unless it is the only one or the user interrupts; how
/// many failed.
pub fn each_scene(scenes: &[Item], mut work: impl FnMut(&Item) -> Result<()>) -> Result<usize> {
    let mut failures = 0;
    for item in scenes {
        if let Some(date) = &item.date {
            tracing::info!("{}: taken {date}", item.scene.display());
        }
        match work(item) {
            Ok(()) => {}
            Err(error @ Error::Interrupted { .. }) => return Err(error),
            Err(error) if scenes.len() == 1 => return Err(error),
            Err(error) => {
                log::report_error(&error);
                failures += 1;
            }
        }
    }
    Ok(failures)
}

/// The error at the end of a run in which scenes failed.
pub fn none_failed(failed: usize, scenes: &[Item]) -> Result<()> {
    if failed == 0 {
        return Ok(());
    }
    Err(Error::Some { failed, total: scenes.len(), what: "scenes".to_owned() })
}

/// Patterns into paths, in order; what is no pattern stays as it is, to be opened or refused later.
fn expand(scenes: &[String]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for scene in scenes {
        let is_pattern = scene.contains(['*', '?', '[']) && !Path::new(scene).exists();
        if !is_pattern || scene.contains("://") || scene.starts_with("/vsi") {
            paths.push(PathBuf::from(scene));
            continue;
        }
        let found = glob::glob(scene)
            .map_err(|problem| Error::input(scene, "a pattern", problem.to_string(), "quote it"))?;
        let before = paths.len();
        paths.extend(found.filter_map(std::result::Result::ok));
        if paths.len() == before {
            return Err(Error::input(scene, "scenes", "no file that fits", "check the pattern"));
        }
    }
    Ok(paths)
}

/// Longitudes and latitudes in degrees, WGS 84.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// West, south, east, north.
    pub corners: [f64; 4],
}

impl FromStr for BoundingBox {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text
            .split(',')
            .map(|number| number.trim().parse::<f64>().ok().filter(|number| number.is_finite()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("expected four numbers, found `{text}`"))?;
        let corners = <[f64; 4]>::try_from(numbers)
            .map_err(|numbers| format!("expected four numbers, found {}", numbers.len()))?;
        let [west, south, east, north] = corners;
        if west >= east || south >= north {
            return Err("expected minx < maxx and miny < maxy".to_owned());
        }
        Ok(Self { corners })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_numbers_in_order() {
        let parsed = "-1.5, 2,3,4".parse::<BoundingBox>().unwrap();
        assert_eq!(parsed.corners, [-1.5, 2.0, 3.0, 4.0]);
        for wrong in ["", "1,2,3", "1,2,3,4,5", "3,2,1,4", "1,2,x,4", "1,2,nan,4"] {
            assert!(wrong.parse::<BoundingBox>().unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
