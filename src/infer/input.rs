//! A scene made ready for a model: opened as the model wants it, resampled, its region chosen.

use std::path::{Path, PathBuf};

use super::plan::Axis;
use crate::config::infer::{InferConfig, InferenceConfig};
use crate::error::{Error, Result};
use crate::geo::vector::antimeridian::Beyond;
use crate::geo::vector::{VectorSource, read_footprints};
use crate::geo::{Crs, Grid, Reprojection, Scene, SceneOptions, Window};
use crate::model::ModelSpec;
use crate::truth::{Truth, TruthOptions};

/// Beyond this factor between the scene's and the model's ground sample distance, buildings look
/// different from those that the model has learnt, resampled or not.
const GSD_WARNING: f64 = 1.5;

/// Beyond this factor nothing that the model has learnt is left to see, and a scene of 100 m pixels would
/// be blown up to billions of them: an error, unless the distance to work at is configured.
const GSD_LIMIT: f64 = 20.0;

/// Within this factor the scene is taken as it is: training itself varies the scale by more.
const GSD_SAME: f64 = 1.05;

/// Points per side of a box that is carried into another CRS, where its sides are curves.
const BOX_STEPS: usize = 16;

/// West, south, east, north in degrees (WGS 84).
pub type BoundingBox = [f64; 4];

/// Which part of a scene to score; all of it where both are absent.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// Inside this box.
    pub bbox: Option<BoundingBox>,
    /// Inside these polygons.
    pub aoi: Option<PathBuf>,
}

/// An opened scene, on the grid that the model wants.
pub struct Input {
    scene: Scene,
    grid: Grid,
    region: Window,
    aoi: Option<Truth>,
    spec: ModelSpec,
}

impl Input {
    /// Opens `scene` for a model.
    ///
    /// # Errors
    /// The scene is no raster, its bands or values do not fit the model, or the region misses it.
    pub fn open(
        scene: &Path,
        spec: &ModelSpec,
        config: &InferConfig,
        region: &Region,
    ) -> Result<Self> {
        let options = SceneOptions {
            value_range: config.input.value_range.or(Some(spec.value_range)),
            ..config.input.clone()
        };
        let scene = Scene::open_with(scene, &options)?;
        check_bands(&scene, spec)?;
        check_values(&scene, spec, config)?;
        let grid = choose_grid(&scene, spec, config)?;
        let aoi = region.aoi.as_deref().map(|path| read_aoi(path, &scene)).transpose()?;
        let window = choose_region(&scene, &grid, region, aoi.as_ref().map(|(_, bounds)| *bounds))?;
        let aoi = aoi.map(|(aoi, _)| aoi);
        Ok(Self { scene, grid, region: window, aoi, spec: spec.clone() })
    }

    /// The scene's file.
    pub fn scene_path(&self) -> &Path {
        self.scene.path()
    }

    /// When the scene was taken, where its file says so.
    pub fn date(&self) -> Option<String> {
        self.scene.date()
    }

    /// The part of the grid that is scored.
    pub fn region(&self) -> Window {
        self.region
    }

    /// The grid of the scores.
    pub fn output_grid(&self) -> Grid {
        self.grid.window(self.region)
    }

    pub(super) fn grid(&self) -> &Grid {
        &self.grid
    }

    pub(super) fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    pub(super) fn plan(&self, config: &InferenceConfig) -> super::strips::Plan {
        let (window, overlap) = (config.window_px, config.overlap_px);
        let region = self.region;
        super::strips::Plan {
            cols: Axis::new(self.grid.width, region.col, region.right(), window, overlap),
            rows: Axis::new(self.grid.height, region.row, region.bottom(), window, overlap),
        }
    }

    /// The position on the grid, in pixels, of a longitude and latitude; of a column and row where the scene has no CRS.
    pub(super) fn pixel_at(&self, (x, y): (f64, f64)) -> Result<(f64, f64)> {
        let grid = &self.grid;
        let (col, row) = match (&grid.crs, grid.transform.invert()) {
            (Some(crs), Some(to_pixels)) => {
                let way = Reprojection::new(&Crs::wgs84()?, crs)?;
                let (x, y) =
                    way.point(x, y).map_err(|problem| outside(self.scene_path(), &problem))?;
                let x = Beyond::of(grid).map_or(x, |beyond| beyond.x(x));
                to_pixels.apply(x, y)
            }
            _ => (x, y),
        };
        if (0.0..=grid.width as f64).contains(&col) && (0.0..=grid.height as f64).contains(&row) {
            return Ok((col, row));
        }
        Err(Error::input(
            self.scene_path(),
            "a place in the scene",
            format!("{x},{y}: column {col:.0}, row {row:.0} of {} x {}", grid.width, grid.height),
            "places are longitude,latitude (column,row where the scene has no georeference)",
        ))
    }

    /// Reads a window of the grid: pixels, and which of them are to be scored.
    pub(super) fn read(&self, window: Window) -> Result<(crate::geo::Pixels, Vec<bool>)> {
        let pixels = self.scene.read(&self.grid, window)?;
        let wanted = match &self.aoi {
            None => pixels.valid.clone(),
            Some(aoi) => aoi
                .rasterize(&self.grid, window, &pixels.valid)?
                .into_iter()
                .map(|label| label != crate::truth::IGNORE)
                .collect(),
        };
        Ok((pixels, wanted))
    }
}

pub(super) fn check_bands(scene: &Scene, spec: &ModelSpec) -> Result<()> {
    if scene.bands() == spec.bands.len() {
        return Ok(());
    }
    Err(Error::input(
        scene.path(),
        format!("{} bands for this model ({})", spec.bands.len(), spec.bands.join(", ")),
        format!("{}", scene.bands()),
        "choose and order bands with `--set input.bands=[1,2,3]`",
    ))
}

fn check_values(scene: &Scene, spec: &ModelSpec, config: &InferConfig) -> Result<()> {
    let model_is_8_bit = spec.value_range == [0.0, 255.0];
    if !model_is_8_bit || scene.is_8_bit() || config.input.value_range.is_some() {
        return Ok(());
    }
    let [low, high] = Scene::open_with(
        scene.path(),
        &SceneOptions { value_range: None, ..config.input.clone() },
    )?
    .value_range();
    Err(Error::input(
        scene.path(),
        "8-bit values, as the model was trained on",
        scene.dtype(),
        format!(
            "say which values are black and white, for example \
             `--set input.value_range=[{low},{high}]` (the scene's 2nd and 98th percentile)"
        ),
    ))
}

fn choose_grid(scene: &Scene, spec: &ModelSpec, config: &InferConfig) -> Result<Grid> {
    let Some(gsd_m) = scene.grid().gsd_m else {
        tracing::warn!(
            "{}: no georeference; taken as {} m per pixel, results are in pixels",
            scene.path().display(),
            config.inference.gsd_m.unwrap_or(spec.gsd_m)
        );
        return Ok(scene.grid().clone());
    };
    let target_m = match config.inference.gsd_m {
        Some(target_m) => target_m,
        None => within_limit(scene.path(), gsd_m, spec.gsd_m)?,
    };
    let worst = gsd_factor(gsd_m, target_m);
    if worst > GSD_WARNING {
        tracing::warn!(
            "{}: {:.2} m per pixel, the model was trained at {:.2} m; resampled, but expect worse buildings",
            scene.path().display(),
            scene.grid().mean_gsd_m().unwrap_or_default(),
            spec.gsd_m
        );
    }
    if worst <= GSD_SAME { Ok(scene.grid().clone()) } else { scene.grid_at(target_m) }
}

/// The model's ground sample distance, unless the scene's is too far from it.
fn within_limit(scene: &Path, gsd_m: (f64, f64), model_m: f64) -> Result<f64> {
    if gsd_factor(gsd_m, model_m) <= GSD_LIMIT {
        return Ok(model_m);
    }
    Err(Error::input(
        scene,
        format!(
            "a ground sample distance within a factor of {GSD_LIMIT} of the model's {model_m:.3} m"
        ),
        format!("{:.3} x {:.3} m", gsd_m.0, gsd_m.1),
        "use a model of such scenes, or set `inference.gsd_m` to the metres per pixel to work at",
    ))
}

/// How many times coarser or finer than `target_m` the worse of two axes is.
fn gsd_factor((x, y): (f64, f64), target_m: f64) -> f64 {
    let factor = |gsd_m: f64| (gsd_m / target_m).max(target_m / gsd_m);
    factor(x).max(factor(y))
}

/// The area of interest, and its bounds in pixels of the scene's own grid.
fn read_aoi(path: &Path, scene: &Scene) -> Result<(Truth, [f64; 4])> {
    let native = scene.grid();
    let aoi = read_footprints(&VectorSource::file(path), native.crs.as_ref())?.beside(native);
    let to_pixels = native.transform.invert().unwrap_or(crate::geo::GeoTransform::PIXEL);
    let mut bounds = Bounds::default();
    for polygon in aoi.polygons.iter().flatten() {
        for corner in &polygon.exterior().0 {
            bounds.add(to_pixels.apply(corner.x, corner.y));
        }
    }
    let options = TruthOptions { all_touched: false, ..TruthOptions::default() };
    Ok((Truth::prepare(&[], Some(&aoi.polygons), native, &options)?, bounds.0))
}

/// The smallest window of `grid` that holds everything to score.
fn choose_region(
    scene: &Scene,
    grid: &Grid,
    region: &Region,
    aoi_px: Option<[f64; 4]>,
) -> Result<Window> {
    let native = scene.grid();
    let mut area = [0.0, 0.0, native.width as f64, native.height as f64];
    for wanted in [region.bbox.map(|bbox| bbox_px(scene, bbox)).transpose()?, aoi_px] {
        let Some(wanted) = wanted else { continue };
        area = [
            area[0].max(wanted[0]),
            area[1].max(wanted[1]),
            area[2].min(wanted[2]),
            area[3].min(wanted[3]),
        ];
    }
    let sx = grid.width as f64 / native.width as f64;
    let sy = grid.height as f64 / native.height as f64;
    let (col, row) = ((area[0] * sx).floor(), (area[1] * sy).floor());
    let (right, bottom) = ((area[2] * sx).ceil(), (area[3] * sy).ceil());
    if !(col < right && row < bottom) {
        return Err(Error::input(
            scene.path(),
            "a scene that the box or area of interest overlaps",
            "no overlap",
            "the box is west,south,east,north in degrees; check the polygons' CRS",
        ));
    }
    Ok(Window {
        col: col as usize,
        row: row as usize,
        width: (right as usize).min(grid.width) - col as usize,
        height: (bottom as usize).min(grid.height) - row as usize,
    })
}

/// A place that is asked for has no coordinates in a scene's CRS.
fn outside(scene: &Path, problem: &Error) -> Error {
    let hint = "check the box or place: longitudes and latitudes, in this order";
    Error::input(scene, "a place where its CRS is defined", problem.to_string(), hint)
}

/// How much of a box is looked at around a scene.
const MARGIN_DEG: f64 = 1.0;

/// A box in degrees as bounds in pixels of the scene's own grid.
fn bbox_px(scene: &Scene, bbox: BoundingBox) -> Result<[f64; 4]> {
    let native = scene.grid();
    let (Some(crs), Some(to_pixels)) = (&native.crs, native.transform.invert()) else {
        return Err(Error::input(
            scene.path(),
            "a georeferenced scene, since a box in degrees is given",
            "no georeference",
            "leave out the box",
        ));
    };
    let Some([west, south, east, north]) = near(native, crs, bbox)? else {
        return Ok(Bounds::default().0);
    };
    let way = Reprojection::new(&Crs::wgs84()?, crs)?;
    let mut bounds = Bounds::default();
    for step in 0..=BOX_STEPS {
        let share = step as f64 / BOX_STEPS as f64;
        let (lon, lat) = (west + (east - west) * share, south + (north - south) * share);
        for (x, y) in [(lon, south), (lon, north), (west, lat), (east, lat)] {
            let (x, y) = way.point(x, y).map_err(|problem| outside(scene.path(), &problem))?;
            let x = Beyond::of(native).map_or(x, |beyond| beyond.x(x));
            bounds.add(to_pixels.apply(x, y));
        }
    }
    Ok(bounds.0)
}

/// The part of a box that lies around the grid, by its own longitudes: far from it, coordinates of its CRS may mean nothing. `None`
/// where there is none.
fn near(grid: &Grid, crs: &Crs, bbox: BoundingBox) -> Result<Option<BoundingBox>> {
    let way = Reprojection::new(crs, &Crs::wgs84()?)?;
    let mut home = Bounds::default();
    let (width, height) = (grid.width as f64, grid.height as f64);
    for step in 0..=BOX_STEPS {
        let share = step as f64 / BOX_STEPS as f64;
        let (col, row) = (share * width, share * height);
        for (col, row) in [(col, 0.0), (col, height), (0.0, row), (width, row)] {
            let (x, y) = grid.transform.apply(col, row);
            let Ok((lon, lat)) = way.point(x, y) else { return Ok(Some(bbox)) };
            home.add((lon, lat));
        }
    }
    let [west, south, east, north] = home.0;
    // Around a pole or across the antimeridian, corners do not tell where a scene lies.
    if east - west > 90.0 || north > 89.0 || south < -89.0 {
        return Ok(Some(bbox));
    }
    let part = |turn: f64| {
        let (from, to) = (bbox[0] + turn, bbox[2] + turn);
        let (from, to) = (from.max(west - MARGIN_DEG), to.min(east + MARGIN_DEG));
        let (below, above) = (bbox[1].max(south - MARGIN_DEG), bbox[3].min(north + MARGIN_DEG));
        (from <= to && below <= above).then_some([from, below, to, above])
    };
    Ok([0.0, -360.0, 360.0].into_iter().find_map(part))
}

/// `[min x, min y, max x, max y]` of the points added so far.
struct Bounds([f64; 4]);

impl Default for Bounds {
    fn default() -> Self {
        Self([f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY])
    }
}

impl Bounds {
    fn add(&mut self, (x, y): (f64, f64)) {
        let b = &mut self.0;
        *b = [b[0].min(x), b[1].min(y), b[2].max(x), b[3].max(y)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_far_from_the_models_resolution_is_refused() {
        let scene = Path::new("world.tif");
        for gsd_m in [(0.3, 0.3), (5.9, 5.0), (0.016, 0.02)] {
            assert_eq!(within_limit(scene, gsd_m, 0.3).unwrap(), 0.3, "{gsd_m:?}");
        }
        for gsd_m in [(100.0, 100.0), (0.3, 6.1), (0.014, 0.3)] {
            let message = within_limit(scene, gsd_m, 0.3).unwrap_err().to_string();
            for part in ["world.tif", "0.300 m", &format!("{:.3}", gsd_m.0), "inference.gsd_m"] {
                assert!(message.contains(part), "{message}");
            }
        }
    }
}
