//! `geoseg label`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::scoring::{Scoring, each_scene, none_failed};
use super::{Context, stdout};
use crate::config;
use crate::config::infer::ScoresType;
use crate::error::{Error, Result};
use crate::geo::{Scene, to_cog};
use crate::output::{self, Staged};
use crate::stac::Item;

const EXAMPLES: &str = "\
Examples:
  geoseg label 'unlabelled/*.tif' --model model.safetensors -o soft/
  geoseg label scene.tif --model a.safetensors --model b.safetensors --tta d4 -o soft/

Writes NAME_soft.tif for every scene: a cloud-optimized GeoTIFF of uint8, round(p * 254) with 255 where
nothing was scored; the item GEOSEG_PROVENANCE of its metadata says which models gave p, and how.
config/infer.toml lists every key with its default.";

/// Write soft labels (probabilities) of scenes without truth
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder of the soft labels, made where it is missing
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Replace soft labels that are there already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    scoring: Scoring,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let config = args.scoring.configuration(&[])?;
    if config.inference.scores != ScoresType::Uint8 {
        let problem = "soft labels are uint8; `geoseg infer --scores` writes floats";
        return Err(Error::config("inference.scores", problem));
    }
    let scenes = args.scoring.scenes()?;
    std::fs::create_dir_all(&args.output).map_err(Error::io(&args.output))?;
    check_targets(&scenes, args)?;
    let mut ensemble = args.scoring.ensemble(&config)?;
    let region = args.scoring.region();
    let failed = each_scene(&scenes, |Item { scene, date }| {
        let inputs = ensemble.open(scene, &region)?;
        let target = target(scene, &args.output);
        let staged = Staged::new(&target, args.overwrite)?;
        // A folder that goes with its stage.
        let raw = Staged::new(target.with_extension("raw"), true)?;
        let (interrupt, progress) = (&context.interrupt, context.progress);
        let report = ensemble.score(inputs, date.as_deref(), raw.path(), interrupt, progress)?;
        to_cog(&report.raster, staged.path(), "average")?;
        staged.commit()?;
        config::write_effective(&config, &target)?;
        stdout::print(&format!(
            "{}: {:.1} Mpx in {:.1} s",
            target.display(),
            report.pixels as f64 / 1e6,
            report.seconds
        ))
    })?;
    none_failed(failed, &scenes)
}

fn target(scene: &Path, folder: &Path) -> PathBuf {
    folder.join(format!("{}_soft.tif", Scene::name_of(scene)))
}

/// Refuses, before any work is done, what could not be written or would overwrite itself.
fn check_targets(scenes: &[Item], args: &Args) -> Result<()> {
    let mut targets = BTreeSet::new();
    for Item { scene, .. } in scenes {
        let target = target(scene, &args.output);
        output::check_writable(&target, args.overwrite)?;
        if !targets.insert(target.clone()) {
            return Err(Error::input(
                scene,
                "scenes of different names",
                format!("two whose labels would be {}", target.display()),
                "label them into different folders",
            ));
        }
    }
    Ok(())
}
