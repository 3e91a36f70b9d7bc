//! Everything that is known about the scenes before the first tile is cut.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::dataset::{DatasetConfig, SceneEntry};
use crate::error::{Error, Result};
use crate::geo::vector::{Footprints, VectorSource, read_footprints};
use crate::geo::{Compression, Grid, Scene, SceneOptions};
use crate::truth::{Truth, TruthOptions};

use super::divide::divide;
use super::labels::LabelSource;
use super::photos::{self, Photos};
use super::plan::Scale;
use super::set::{SceneInfo, Split};
use super::split::Division;

/// A scene or a photo, ready to be cut.
pub struct Prepared {
    /// Which of the set's scenes its tiles belong to: many photos belong to one.
    pub part_of: usize,
    /// The name of that, its folder in the set.
    pub name: String,
    /// A photo's own name.
    pub photo: Option<String>,
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

/// All scenes and photos, and what they have in common.
pub struct Dataset {
    /// What the set will say of its scenes: those of the configuration, then one for each entry of photos.
    pub infos: Vec<SceneInfo>,
    /// The scenes, in the order of the configuration, then the photos, by entry and name.
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
    path: PathBuf,
    pub native: Grid,
    bands: usize,
    is_8_bit: bool,
    dtype: String,
    value_range: [f64; 2],
}

/// Opens every scene and photo once, reads footprints and divides the ground.
///
/// # Errors
/// Whatever makes an input unusable; the error names the file.
pub fn prepare(config: &DatasetConfig, photos: &[Photos]) -> Result<Dataset> {
    let mut warnings = Vec::new();
    let names = names(&config.scene)?;
    check_names(&names, photos)?;
    let mut opened: Vec<Opened> =
        config.scene.iter().map(|entry| open_scene(entry, config)).collect::<Result<_>>()?;
    let mut divisions = divide(config, &names, &opened, &mut warnings)?;
    let pairs: Vec<_> = photos.iter().flat_map(|photos| &photos.pairs).collect();
    let opened_photos: Vec<Opened> = pairs
        .into_par_iter()
        .map(|(photo, _)| open(&photo.path, &config.photo_options()))
        .collect::<Result<_>>()?;
    let scene_count = opened.len();
    opened.extend(opened_photos);
    let bands = common_bands(config, &opened)?;

    let mut infos = Vec::new();
    let mut scenes = Vec::new();
    for ((entry, name), (scene, division)) in
        config.scene.iter().zip(names).zip(opened.iter().zip(divisions.drain(..)))
    {
        let native = &scene.native;
        let mut info = SceneInfo {
            name: name.clone(),
            image: entry.image.clone(),
            crs: native.crs.as_ref().map(|crs| crs.label().to_owned()),
            footprints: 0,
            repaired: 0,
            dropped: 0,
            photos: 0,
        };
        let labels = if let Some(soft) = &entry.soft {
            LabelSource::soft(soft, &entry.image, native)?
        } else {
            let footprints = footprints(entry, native, &info.name, &mut warnings)?;
            info.footprints = footprints.polygons.len();
            (info.repaired, info.dropped) = (footprints.repaired, footprints.dropped);
            LabelSource::Footprints(Box::new(truth(entry, native, &footprints, config)?))
        };
        scenes.push(Prepared {
            part_of: infos.len(),
            name,
            photo: None,
            path: entry.image.clone(),
            options: config.scene_options(),
            scales: Scale::of(native, &config.tiles),
            native: native.clone(),
            division,
            labels,
        });
        infos.push(info);
    }
    let mut grids = opened[scene_count..].iter().map(|photo| photo.native.clone());
    for (entry, photos) in config.photos.iter().zip(photos) {
        let grids = grids.by_ref().take(photos.pairs.len()).collect();
        scenes.extend(photos::prepare(entry, photos, grids, infos.len(), config)?);
        infos.push(photos.info(entry));
    }
    let value_range = common_range(config, &opened, &scenes)?;
    for scene in &mut scenes {
        scene.options.value_range = Some(value_range);
    }
    Ok(Dataset { infos, scenes, bands, value_range, warnings })
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

/// Refuses photos that would share a folder with other photos or a scene.
fn check_names(scenes: &[String], photos: &[Photos]) -> Result<()> {
    for (at, entry) in photos.iter().enumerate() {
        let earlier = photos[..at].iter().map(|other| &other.name);
        if scenes.iter().chain(earlier).any(|name| *name == entry.name) {
            return Err(Error::config(
                format!("photos.{at}.name"),
                format!("two folders would be called `{}`; give each a `name`", entry.name),
            ));
        }
    }
    Ok(())
}

fn open_scene(entry: &SceneEntry, config: &DatasetConfig) -> Result<Opened> {
    let options = config.scene_options();
    let opened = open(&entry.image, &options)?;
    for &gsd_m in &config.tiles.gsd_m {
        if opened.native.gsd_m.is_none() {
            return Err(Error::input(
                &entry.image,
                "a georeferenced scene, as `tiles.gsd_m` needs",
                "no georeference",
                "use `tiles.scales`, or georeference the scene (`gdal_translate -a_srs -a_ullr`)",
            ));
        }
        Scene::open_with(&entry.image, &options)?.grid_at(gsd_m)?;
    }
    Ok(opened)
}

fn open(path: &Path, options: &SceneOptions) -> Result<Opened> {
    let scene = Scene::open_with(path, options)?;
    Ok(Opened {
        path: path.to_owned(),
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
pub(super) fn tidy(name: Option<std::borrow::Cow<'_, str>>) -> String {
    let name = name.unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.trim_matches('.').chars().map(safe).collect()
}

fn common_bands(config: &DatasetConfig, opened: &[Opened]) -> Result<usize> {
    let first = &opened[0];
    let bands = first.bands;
    if let Some(other) = opened.iter().find(|scene| scene.bands != bands) {
        return Err(Error::input(
            &other.path,
            format!("{bands} bands, as {} has", first.path.display()),
            format!("{}", other.bands),
            "choose common bands with `tiles.bands`",
        ));
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
    scenes: &[Prepared],
) -> Result<[f64; 2]> {
    if let Some(range) = config.tiles.value_range {
        return Ok(range);
    }
    if opened.iter().all(|scene| scene.is_8_bit) {
        return Ok([0.0, 255.0]);
    }
    let first = &opened[0];
    if let Some(scene) = opened.iter().find(|scene| scene.is_8_bit != first.is_8_bit) {
        return Err(Error::config(
            "tiles.value_range",
            format!(
                "{} holds {} values and {} holds {}: say which range becomes 0 and 255",
                first.path.display(),
                first.dtype,
                scene.path.display(),
                scene.dtype
            ),
        ));
    }
    let trains = |scene: &&Prepared| match &scene.division {
        Division::Whole(group) => group.split == Split::Train,
        Division::Blocks(_) => true,
    };
    let any_trains = scenes.iter().any(|scene| trains(&scene));
    let range = opened
        .iter()
        .zip(scenes)
        // Judging scenes do not set the range; in a set without training they must.
        .filter(|(_, scene)| !any_trains || trains(scene))
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
    let footprints = read_footprints(&source, native.crs.as_ref())?.beside(native);
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
    let aoi = read_footprints(&VectorSource::file(path), native.crs.as_ref())?.beside(native);
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
