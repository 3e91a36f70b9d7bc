//! Everything that is known about the scenes before the first tile is cut.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::config::dataset::{DatasetConfig, SceneEntry};
use crate::error::{Error, Result};
use crate::geo::vector::{Footprints, VectorSource, read_footprints};
use crate::geo::{Compression, Grid, Scene, SceneOptions};
use crate::truth::{Truth, TruthOptions};

use super::divide::divide;
use super::labels::LabelSource;
use super::plan::Scale;
use super::set::{SceneInfo, Split};
use super::split::Division;

/// A scene, ready to be cut.
pub struct Prepared {
    /// What the set will say of it.
    pub info: SceneInfo,
    /// The image.
    pub path: PathBuf,
    /// How to open it.
    pub options: SceneOptions,
    /// Its own pixels.
    pub native: Grid,
    /// The resolutions to cut.
    pub scales: Vec<Scale>,
    /// Which ground is for what.
    pub division: Division,
    /// Its labels.
    pub labels: LabelSource,
}

/// All scenes, and what they have in common.
pub struct Dataset {
    /// The scenes, in the order of the configuration.
    pub scenes: Vec<Prepared>,
    /// Bands of every scene.
    pub bands: usize,
    /// Scene values that become 0 and 255.
    pub value_range: [f64; 2],
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// What opening a scene tells.
pub(super) struct Opened {
    pub native: Grid,
    bands: usize,
    is_8_bit: bool,
    dtype: String,
    value_range: [f64; 2],
}

/// Opens every scene once, reads its footprints and divides the ground.
///
/// # Errors
/// Whatever makes an input unusable; the error names the file.
pub fn prepare(config: &DatasetConfig) -> Result<Dataset> {
    let mut warnings = Vec::new();
    let names = names(&config.scene)?;
    let opened: Vec<Opened> =
        config.scene.iter().map(|entry| open(entry, config)).collect::<Result<_>>()?;
    let bands = common_bands(config, &opened)?;
    let divisions = divide(config, &names, &opened, &mut warnings)?;
    let value_range = common_range(config, &opened, &divisions)?;
    let options = SceneOptions { value_range: Some(value_range), ..config.scene_options() };
    let mut scenes = Vec::new();
    for (((entry, name), scene), division) in
        config.scene.iter().zip(names).zip(opened).zip(divisions)
    {
        let native = scene.native;
        let mut info = SceneInfo {
            name,
            image: entry.image.clone(),
            crs: native.crs.as_ref().map(|crs| crs.label().to_owned()),
            footprints: 0,
            repaired: 0,
            dropped: 0,
        };
        let labels = match &entry.soft {
            Some(soft) => LabelSource::soft(soft, &entry.image, &native)?,
            None => {
                let footprints = footprints(entry, &native, &info.name, &mut warnings)?;
                info.footprints = footprints.polygons.len();
                (info.repaired, info.dropped) = (footprints.repaired, footprints.dropped);
                LabelSource::Footprints(truth(entry, &native, &footprints, config)?)
            }
        };
        scenes.push(Prepared {
            info,
            path: entry.image.clone(),
            options: options.clone(),
            scales: Scale::of(&native, &config.tiles),
            native,
            division,
            labels,
        });
    }
    Ok(Dataset { scenes, bands, value_range, warnings })
}

/// The footprints, ready to be burned.
fn truth(
    entry: &SceneEntry,
    native: &Grid,
    footprints: &Footprints,
    config: &DatasetConfig,
) -> Result<Truth> {
    let aoi = match &entry.aoi {
        Some(path) => Some(area_of_interest(path, native)?),
        None => None,
    };
    let options = TruthOptions {
        all_touched: config.truth.all_touched,
        boundary_m: config.truth.boundary_m,
        contact_m: config.truth.contact_m,
    };
    let truth = Truth::prepare(&footprints.polygons, aoi.as_deref(), native, &options)?;
    check_overlap(entry, native, footprints, &truth)?;
    Ok(truth)
}

fn open(entry: &SceneEntry, config: &DatasetConfig) -> Result<Opened> {
    let scene = Scene::open_with(&entry.image, &config.scene_options())?;
    for &gsd_m in &config.tiles.gsd_m {
        if scene.grid().gsd_m.is_none() {
            return Err(Error::input(
                &entry.image,
                "a georeferenced scene, as `tiles.gsd_m` needs",
                "no georeference",
                "use `tiles.scales`, or georeference the scene (`gdal_translate -a_srs -a_ullr`)",
            ));
        }
        scene.grid_at(gsd_m)?;
    }
    Ok(Opened {
        native: scene.grid().clone(),
        bands: scene.bands(),
        is_8_bit: scene.is_8_bit(),
        dtype: scene.dtype(),
        value_range: scene.value_range(),
    })
}

/// Folder names: as configured, else the image's name, else (where two share it) its folder's.
pub(super) fn names(entries: &[SceneEntry]) -> Result<Vec<String>> {
    let stem = |path: &Path| tidy(path.file_stem().map(|name| name.to_string_lossy()));
    let folder = |path: &Path| {
        tidy(path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy()))
    };
    let mut uses: HashMap<String, usize> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.name.is_none()) {
        *uses.entry(stem(&entry.image)).or_default() += 1;
    }
    let mut names: Vec<String> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let name = match &entry.name {
            Some(name) => name.clone(),
            None if uses[&stem(&entry.image)] > 1 => folder(&entry.image),
            None => stem(&entry.image),
        };
        if tidy(Some(name.as_str().into())) != name || name.is_empty() {
            return Err(Error::config(
                format!("scene.{at}.name"),
                format!("expected letters, digits, `_`, `-` and inner `.`, found `{name}`"),
            ));
        }
        if names.contains(&name) {
            return Err(Error::config(
                format!("scene.{at}.name"),
                format!("two scenes are called `{name}`; give each a `name`"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// A file name that every system takes.
fn tidy(name: Option<std::borrow::Cow<'_, str>>) -> String {
    let name = name.unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.trim_matches('.').chars().map(safe).collect()
}

fn common_bands(config: &DatasetConfig, opened: &[Opened]) -> Result<usize> {
    let bands = opened[0].bands;
    for (entry, scene) in config.scene.iter().zip(opened) {
        if scene.bands != bands {
            return Err(Error::input(
                &entry.image,
                format!("{bands} bands, as {} has", config.scene[0].image.display()),
                format!("{}", scene.bands),
                "choose common bands with `tiles.bands`",
            ));
        }
    }
    if config.tiles.format == Compression::Jpeg && bands != 1 && bands != 3 {
        return Err(Error::config(
            "tiles.format",
            format!("jpeg takes 1 or 3 bands, the scenes have {bands}; choose deflate or zstd"),
        ));
    }
    Ok(bands)
}

/// One value range for the whole set, so that equal values stay equal between scenes.
fn common_range(
    config: &DatasetConfig,
    opened: &[Opened],
    divisions: &[Division],
) -> Result<[f64; 2]> {
    if let Some(range) = config.tiles.value_range {
        return Ok(range);
    }
    if opened.iter().all(|scene| scene.is_8_bit) {
        return Ok([0.0, 255.0]);
    }
    if let Some((entry, scene)) =
        config.scene.iter().zip(opened).find(|(_, scene)| scene.is_8_bit != opened[0].is_8_bit)
    {
        return Err(Error::config(
            "tiles.value_range",
            format!(
                "{} holds {} values and {} holds {}: say which range becomes 0 and 255",
                config.scene[0].image.display(),
                opened[0].dtype,
                entry.image.display(),
                scene.dtype
            ),
        ));
    }
    let trains = |division: &&Division| match division {
        Division::Whole(group) => group.split == Split::Train,
        Division::Blocks(_) => true,
    };
    let any_trains = divisions.iter().any(|division| trains(&division));
    let range = opened
        .iter()
        .zip(divisions)
        // Judging scenes do not set the range; in a set without training they must.
        .filter(|(_, division)| !any_trains || trains(division))
        .fold([f64::INFINITY, f64::NEG_INFINITY], |range, (scene, _)| {
            [range[0].min(scene.value_range[0]), range[1].max(scene.value_range[1])]
        });
    Ok(range)
}

fn footprints(
    entry: &SceneEntry,
    native: &Grid,
    name: &str,
    warnings: &mut Vec<String>,
) -> Result<Footprints> {
    let source = VectorSource {
        path: entry.footprints.clone(),
        layer: entry.layer.clone(),
        filter: entry.filter.clone(),
    };
    let footprints = read_footprints(&source, native.crs.as_ref())?;
    if let (None, Some(crs), false) = (&native.crs, &footprints.crs, footprints.polygons.is_empty())
    {
        return Err(Error::input(
            &entry.image,
            format!(
                "a georeferenced scene, because {} is in {}",
                entry.footprints.display(),
                crs.label()
            ),
            "no georeference",
            "georeference the scene (`gdal_translate -a_srs -a_ullr`), or save footprints in pixel \
             coordinates in a format that can do without a CRS (.gpkg, .shp; GeoJSON always means WGS 84)",
        ));
    }
    if native.crs.is_none() {
        warnings
            .push(format!("{name}: no georeference, footprints are taken as pixel coordinates"));
    }
    if footprints.polygons.is_empty() {
        warnings.push(format!(
            "{name}: {} holds no footprints, every pixel is background",
            entry.footprints.display()
        ));
    }
    if footprints.repaired > 0 {
        warnings
            .push(format!("{name}: {} footprints had invalid rings, mended", footprints.repaired));
    }
    if footprints.dropped > 0 {
        warnings.push(format!("{name}: {} features without an area left out", footprints.dropped));
    }
    Ok(footprints)
}

fn area_of_interest(path: &Path, native: &Grid) -> Result<Vec<geo::MultiPolygon<f64>>> {
    let aoi = read_footprints(&VectorSource::file(path), native.crs.as_ref())?;
    if aoi.polygons.is_empty() {
        return Err(Error::input(
            path,
            "at least one polygon, an area of interest",
            "none",
            "leave `aoi` out where the whole scene is labelled",
        ));
    }
    Ok(aoi.polygons)
}

fn check_overlap(
    entry: &SceneEntry,
    native: &Grid,
    footprints: &Footprints,
    truth: &Truth,
) -> Result<()> {
    let crs = native.crs.as_ref().map_or("pixels", |crs| crs.label());
    let [x0, y0, x1, y1] = native.bounds();
    let scene = format!("x {x0:.6} to {x1:.6}, y {y0:.6} to {y1:.6} ({crs})");
    if !truth.is_empty() && truth.boxes().is_empty() {
        use geo::BoundingRect;
        let all =
            footprints.polygons.iter().filter_map(BoundingRect::bounding_rect).reduce(|a, b| {
                geo::Rect::new(
                    (a.min().x.min(b.min().x), a.min().y.min(b.min().y)),
                    (a.max().x.max(b.max().x), a.max().y.max(b.max().y)),
                )
            });
        let found = all.map_or_else(String::new, |r| {
            let (low, high) = (r.min(), r.max());
            format!("x {:.6} to {:.6}, y {:.6} to {:.6}", low.x, high.x, low.y, high.y)
        });
        return Err(Error::input(
            &entry.footprints,
            format!("footprints that overlap {}: {scene}", entry.image.display()),
            found,
            "check that they belong together and that both name the right CRS",
        ));
    }
    if !truth.aoi_touches_scene() {
        return Err(Error::input(
            entry.aoi.as_deref().unwrap_or(&entry.image),
            format!("an area of interest that overlaps {}: {scene}", entry.image.display()),
            "one that lies elsewhere",
            "check that they belong together and that both name the right CRS",
        ));
    }
    Ok(())
}
