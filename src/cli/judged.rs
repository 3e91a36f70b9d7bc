//! What `eval` and `tune` judge: one scene's files, or every scene of a dataset's split.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::config::Layers;
use crate::config::dataset::DatasetConfig;
use crate::error::Result;
use crate::evaluate::{SceneInputs, dataset};
use crate::geo::vector::VectorSource;
use crate::tiles::Split;

/// The scenes and their truth.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scenes and truth")]
#[command(group = clap::ArgGroup::new("judged").required(true).args(["truth", "dataset"]))]
pub struct Judged {
    /// True buildings of one scene: GeoParquet, or any vector file that GDAL opens
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Layer of the true buildings, the first where absent
    #[arg(long, value_name = "NAME", requires = "truth")]
    truth_layer: Option<String>,
    /// Scores of that scene, as `geoseg infer --scores` writes them
    #[arg(long, value_name = "FILE", requires = "truth")]
    pub scores: Option<PathBuf>,
    /// Judge only inside the polygons of this vector file
    #[arg(long, value_name = "FILE", requires = "truth")]
    aoi: Option<PathBuf>,
    /// The scene: says which pixels have data, and lies under the overlay
    #[arg(long, value_name = "FILE", requires = "truth")]
    image: Option<PathBuf>,
    /// A dataset, to judge every scene of a split; needs --predictions
    #[arg(long, value_name = "FILE", requires = "predictions", conflicts_with = "truth")]
    dataset: Option<PathBuf>,
    /// The dataset's scenes to judge
    #[arg(long, value_name = "SPLIT", default_value = "val")]
    split: SplitArg,
    /// Predictions of the dataset's scenes: NAME.geojson (.gpkg, .parquet, ..), NAME_scores.tif, NAME_mask.tif
    #[arg(long, value_name = "FOLDER", requires = "dataset")]
    predictions: Option<PathBuf>,
}

/// A split of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitArg {
    /// Scenes to learn from
    Train,
    /// Scenes for validation
    Val,
    /// Scenes for the last test
    Test,
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Val => Self::Val,
            SplitArg::Test => Self::Test,
        }
    }
}

/// The dataset's own paths start at its folder.
pub(super) fn read_dataset(layers: &Layers) -> Result<DatasetConfig> {
    let mut dataset = layers.parse::<DatasetConfig>()?;
    if let Some(folder) = layers.folder_of("scene") {
        dataset.resolve_paths(folder);
    }
    if let Some(folder) = layers.folder_of("photos") {
        dataset.resolve_photo_paths(folder);
    }
    Ok(dataset)
}

impl Judged {
    /// The dataset, or its defaults where one scene is judged; `sets` override its keys.
    pub(super) fn dataset(&self, sets: &[String]) -> Result<DatasetConfig> {
        read_dataset(&Layers::read(self.dataset.as_slice(), sets)?)
    }

    /// The scenes; `predicted` and `mask` belong to the one scene that is not from a dataset.
    pub(super) fn scenes(
        &self,
        dataset: &DatasetConfig,
        predicted: Option<&Path>,
        mask: Option<&Path>,
    ) -> Result<Vec<SceneInputs>> {
        if let Some(folder) = &self.predictions {
            return dataset::scenes_of(dataset, self.split.into(), folder);
        }
        let truth = self.truth.clone().unwrap_or_default();
        let named_after = [self.image.as_deref(), predicted, self.scores.as_deref(), mask];
        let named_after = named_after.into_iter().flatten().next().unwrap_or(&truth);
        Ok(vec![SceneInputs {
            name: named_after.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            predicted: predicted.map(|path| VectorSource::file(path.to_owned())),
            scores: self.scores.clone(),
            mask: mask.map(Path::to_owned),
            aoi: self.aoi.clone().map(VectorSource::file),
            scene: self.image.clone(),
            scene_options: dataset.scene_options(),
            truth: VectorSource { path: truth, layer: self.truth_layer.clone(), filter: None },
        }])
    }
}
