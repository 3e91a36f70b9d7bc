//! Scenes from a STAC item, item collection, collection or catalogue (<https://stacspec.org>).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::geo::remote;

/// A scene that a catalogue lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its raster: a path or URL.
    pub scene: PathBuf,
    /// When it was taken: `properties.datetime`, or the start of its range, as it stands there.
    pub date: Option<String>,
}

/// Files followed from one catalogue; more is a mistake, or wants a search first.
const MOST_FILES: usize = 10_000;

/// Media types of rasters that GDAL reads piece by piece.
const RASTER_TYPES: [&str; 3] = ["image/tiff", "image/vnd.stac.geotiff", "image/jp2"];

/// Whether a scene's path is that of a catalogue.
pub fn is_catalogue(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let name = text.split(['?', '#']).next().unwrap_or_default();
    [".json", ".geojson"].iter().any(|ending| name.to_lowercase().ends_with(ending))
}

/// The scenes of a catalogue, in its order; items outside `bbox` (west, south, east, north) are skipped.
///
/// # Errors
/// No STAC there, an item without a raster, or no item that is left.
pub fn items(path: &Path, bbox: Option<[f64; 4]>) -> Result<Vec<Item>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut waiting = vec![path.to_owned()];
    let mut skipped = 0;
    while let Some(file) = waiting.pop() {
        if !seen.insert(file.clone()) {
            continue;
        }
        if seen.len() > MOST_FILES {
            let hint = "name a smaller collection, or items";
            return Err(Error::input(path, format!("at most {MOST_FILES} files"), "more", hint));
        }
        let json = read(&file)?;
        match json["type"].as_str() {
            Some("Feature") => take(&json, &file, bbox, &mut found, &mut skipped)?,
            Some("FeatureCollection") => {
                for item in json["features"].as_array().into_iter().flatten() {
                    take(item, &file, bbox, &mut found, &mut skipped)?;
                }
            }
            Some("Collection" | "Catalog") => {
                let links = json["links"].as_array().map_or(&[][..], Vec::as_slice);
                // Taken from the end: the first link first.
                for link in links.iter().rev() {
                    if let (Some("item" | "child"), Some(href)) =
                        (link["rel"].as_str(), link["href"].as_str())
                    {
                        waiting.push(resolved(&file, href));
                    }
                }
            }
            other => {
                return Err(Error::input(
                    &file,
                    "a STAC item, collection or catalogue",
                    other.map_or_else(|| "no `type`".to_owned(), |kind| format!("`{kind}`")),
                    "name a raster, or a file of STAC",
                ));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::input(
            path,
            "items with a scene",
            format!("none, {skipped} outside --bbox"),
            "check --bbox (longitude and latitude)",
        ));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Value> {
    let text = remote::read_text(file)?;
    serde_json::from_str(&text).map_err(|problem| {
        Error::input(file, "a file of STAC (JSON)", problem.to_string(), "check that it is whole")
    })
}

/// The scene of an item, unless that lies elsewhere.
fn take(
    item: &Value,
    file: &Path,
    wanted: Option<[f64; 4]>,
    found: &mut Vec<Item>,
    skipped: &mut usize,
) -> Result<()> {
    if let (Some(wanted), Some(own)) = (wanted, bounds(&item["bbox"]))
        && !meet(wanted, own)
    {
        *skipped += 1;
        return Ok(());
    }
    let href = raster(&item["assets"]).ok_or_else(|| {
        let id = item["id"].as_str().unwrap_or("without an id");
        Error::input(
            file,
            format!("an asset of item {id} with the role `data` or the type of a GeoTIFF"),
            "none",
            "name the raster itself",
        )
    })?;
    let properties = &item["properties"];
    let date = properties["datetime"].as_str().or(properties["start_datetime"].as_str());
    found.push(Item { scene: resolved(file, href), date: date.map(str::to_owned) });
    Ok(())
}

/// The address of the asset to segment: data before what only looks like it, a picture before single bands.
fn raster(assets: &Value) -> Option<&str> {
    let rank = |name: &str, asset: &Value| {
        let has_role = |role: &str| {
            asset["roles"].as_array().is_some_and(|roles| roles.iter().any(|own| own == role))
        };
        let kind = asset["type"].as_str().unwrap_or_default();
        let is_raster = RASTER_TYPES.iter().any(|known| kind.starts_with(known));
        let (data, visual) = (has_role("data"), has_role("visual") || name == "visual");
        match (data || visual, is_raster) {
            _ if has_role("thumbnail") || has_role("metadata") => None,
            (true, true) if visual => Some(0),
            (true, true) => Some(1),
            (false, true) => Some(2),
            (true, false) if kind.is_empty() => Some(3),
            _ => None,
        }
    };
    let ranked = assets
        .as_object()?
        .iter()
        .filter_map(|(name, asset)| Some((rank(name, asset)?, name, asset["href"].as_str()?)));
    ranked.min().map(|(_, _, href)| href)
}

/// West, south, east, north of a box in two or three dimensions.
fn bounds(bbox: &Value) -> Option<[f64; 4]> {
    let numbers: Vec<f64> = bbox.as_array()?.iter().filter_map(Value::as_f64).collect();
    match numbers[..] {
        [west, south, east, north] | [west, south, _, east, north, _] => {
            Some([west, south, east, north])
        }
        _ => None,
    }
}

/// Whether two boxes share ground; one whose west lies beyond its east crosses the antimeridian.
fn meet(a: [f64; 4], b: [f64; 4]) -> bool {
    if b[0] > b[2] {
        return meet(a, [b[0], b[1], 180.0, b[3]]) || meet(a, [-180.0, b[1], b[2], b[3]]);
    }
    a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3]
}

/// An address as it stands in `file`.
fn resolved(file: &Path, href: &str) -> PathBuf {
    let path = PathBuf::from(href);
    if remote::is_remote(&path) || path.is_absolute() {
        return path;
    }
    let text = file.to_string_lossy();
    let folder = text.split(['?', '#']).next().unwrap_or_default();
    let folder = folder.rfind('/').map_or("", |end| &folder[..=end]);
    let mut steps: Vec<&str> = folder.split('/').collect();
    steps.pop();
    for step in href.split('/') {
        match step {
            "." => {}
            ".." if steps.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                steps.pop();
            }
            step => steps.push(step),
        }
    }
    steps.join("/").into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_start_at_their_file() {
        let to =
            |file: &str, href: &str| resolved(Path::new(file), href).to_string_lossy().into_owned();
        assert_eq!(to("https://x.org/a/item.json?key=1", "./b.tif"), "https://x.org/a/b.tif");
        assert_eq!(to("https://x.org/a/item.json", "../c/b.tif"), "https://x.org/c/b.tif");
        assert_eq!(to("/data/item.json", "b.tif"), "/data/b.tif");
        assert_eq!(to("item.json", "b.tif"), "b.tif");
        assert_eq!(to("a/item.json", "../../b.tif"), "../b.tif");
        assert_eq!(to("item.json", "s3://bucket/b.tif"), "s3://bucket/b.tif");
    }

    #[test]
    fn the_picture_is_chosen_before_its_thumbnail_and_its_bands() {
        let cog = "image/tiff; application=geotiff; profile=cloud-optimized";
        let assets = json!({
            "thumbnail": { "href": "t.tif", "type": cog, "roles": ["thumbnail"] },
            "meta": { "href": "m.xml", "type": "application/xml", "roles": ["metadata"] },
            "b04": { "href": "b04.tif", "type": cog, "roles": ["data"] },
            "visual": { "href": "v.tif", "type": cog, "roles": ["visual"] },
        });
        assert_eq!(raster(&assets), Some("v.tif"));
        assert_eq!(raster(&json!({ "image": { "href": "i.tif", "type": cog } })), Some("i.tif"));
        assert_eq!(raster(&json!({ "x": { "href": "x.vrt", "roles": ["data"] } })), Some("x.vrt"));
        assert_eq!(raster(&json!({ "m": { "href": "m.xml", "roles": ["metadata"] } })), None);
    }

    #[test]
    fn boxes_meet_across_the_antimeridian_too() {
        assert!(meet([0.0, 0.0, 1.0, 1.0], [1.0, 0.5, 2.0, 3.0]));
        assert!(!meet([0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]));
        assert!(meet([-179.9, -17.0, -179.0, -16.0], [179.0, -18.0, -179.5, -16.0]));
        assert!(!meet([0.0, -17.0, 1.0, -16.0], [179.0, -18.0, -179.5, -16.0]));
        assert_eq!(bounds(&json!([1, 2, 0, 3, 4, 9])), Some([1.0, 2.0, 3.0, 4.0]));
    }
}
