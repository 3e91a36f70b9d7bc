//! A project of QGIS: a `.qgz`, which is a zip archive with the XML of the project inside.
//!
//! Layers are named by paths relative to the project, so that a folder can be carried elsewhere.

use std::path::{Component, Path, PathBuf};

use super::xml::escaped;
use super::{raster, style};
use crate::error::{Error, Result};
use crate::export::zip::archive;
use crate::geo::Crs;
use crate::output::write_whole;

/// How a layer looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Show {
    /// A raster as a picture.
    Picture {
        /// Numbers of the bands for red, green and blue, or of one.
        bands: Vec<usize>,
        /// Values from dark to bright; as they are where absent.
        range: Option<[f64; 2]>,
    },
    /// A raster of scores: transparent below the threshold.
    Scores {
        /// The value of certainty.
        full: f64,
        /// The probability from which on a pixel is building.
        threshold: f64,
    },
    /// Polygons by their confidence.
    Buildings,
    /// Outlines.
    Truth,
    /// Polygons by what has become of them.
    Changes,
}

/// A layer of a project.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name in the legend.
    pub name: String,
    /// The file, or a URL or `/vsi` path.
    pub path: PathBuf,
    /// Its own CRS: QGIS does not ask the file.
    pub crs: Option<Crs>,
    /// How it looks.
    pub show: Show,
    /// Whether it is seen when the project is opened.
    pub visible: bool,
}

/// What a project shows.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its title.
    pub title: String,
    /// The CRS of the map; that of the pixels where absent.
    pub crs: Option<Crs>,
    /// What is seen when it is opened, in the CRS of the map: min x, min y, max x, max y.
    pub extent: [f64; 4],
    /// The uppermost first.
    pub layers: Vec<Layer>,
}

/// The oldest QGIS that reads everything here.
const VERSION: &str = "3.22.0";

/// Yellow, seen on roofs and trees.
const TRUTH: [u8; 3] = [255, 230, 0];

impl Project {
    /// Writes the project.
    ///
    /// # Errors
    /// `path` exists and `overwrite` is false, or cannot be written.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<()> {
        let name = format!("{}.qgs", path.file_stem().unwrap_or_default().to_string_lossy());
        let xml = self.xml(path)?;
        let bytes = archive(&[(name, xml.into_bytes())]).ok_or_else(|| {
            Error::input(path, "a project below 4 GB", "a larger one", "give it fewer layers")
        })?;
        write_whole(path, &bytes, overwrite)
    }

    fn xml(&self, path: &Path) -> Result<String> {
        let folder = std::path::absolute(path).map_err(Error::io(path))?;
        let folder = folder.parent().unwrap_or(Path::new("/")).to_owned();
        let (mut tree, mut layers, mut order) = (String::new(), String::new(), String::new());
        for (index, layer) in self.layers.iter().enumerate() {
            // QGIS forgets ids of ten characters or fewer, and with them the legend.
            let (id, source) = (format!("geoseg_layer_{index}"), layer.source(&folder)?);
            let (id, name, source) = (escaped(&id), escaped(&layer.name), escaped(&source));
            let (provider, kind) = match layer.show {
                Show::Picture { .. } | Show::Scores { .. } => ("gdal", r#"type="raster""#),
                _ => ("ogr", r#"type="vector" geometry="Polygon" wkbType="MultiPolygon""#),
            };
            let checked = if layer.visible { "Checked" } else { "Unchecked" };
            let srs = layer.crs.as_ref().map(reference_system).unwrap_or_default();
            tree += &format!(
                r#"<layer-tree-layer id="{id}" name="{name}" source="{source}" providerKey="{provider}" checked="Qt::{checked}" expanded="0"/>"#
            );
            order += &format!(r#"<layer id="{id}"/>"#);
            layers += &format!(
                "<maplayer {kind}><id>{id}</id><datasource>{source}</datasource><layername>{name}</layername><srs>{srs}</srs><provider>{provider}</provider>{}</maplayer>",
                layer.look(),
            );
        }
        let crs = self.crs.as_ref().map(reference_system).unwrap_or_default();
        let units = match &self.crs {
            Some(crs) if crs.is_geographic() => "degrees",
            _ => "meters",
        };
        let [x0, y0, x1, y1] = self.extent;
        Ok(format!(
            r#"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="{VERSION}" projectname="{title}">
<title>{title}</title>
<projectCrs>{crs}</projectCrs>
<layer-tree-group>{tree}</layer-tree-group>
<mapcanvas name="theMapCanvas"><units>{units}</units><extent><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></extent><rotation>0</rotation><destinationsrs>{crs}</destinationsrs></mapcanvas>
<projectlayers>{layers}</projectlayers>
<layerorder>{order}</layerorder>
<properties><SpatialRefSys><ProjectionsEnabled type="int">1</ProjectionsEnabled></SpatialRefSys><Paths><Absolute type="bool">false</Absolute></Paths></properties>
<ProjectViewSettings UseProjectScales="0"><Scales/><DefaultViewExtent xmin="{x0}" ymin="{y0}" xmax="{x1}" ymax="{y1}">{crs}</DefaultViewExtent></ProjectViewSettings>
</qgis>
"#,
            title = escaped(&self.title),
        ))
    }
}

impl Layer {
    /// As QGIS names it, seen from the project's folder.
    fn source(&self, folder: &Path) -> Result<String> {
        let text = self.path.to_string_lossy();
        if text.starts_with("/vsi") {
            return Ok(text.into_owned());
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(format!("/vsicurl/{text}"));
        }
        let path = std::path::absolute(&self.path).map_err(Error::io(&self.path))?;
        Ok(relative(folder, &path))
    }

    fn look(&self) -> String {
        match &self.show {
            Show::Picture { bands, range } => raster::picture(bands, *range),
            Show::Scores { full, threshold } => raster::scores(*full, *threshold),
            Show::Buildings => style::confidence_renderer(),
            Show::Truth => style::outline_renderer(TRUTH),
            Show::Changes => style::change_renderer(),
        }
    }
}

fn reference_system(crs: &Crs) -> String {
    let code = crs.label().strip_prefix("EPSG:").filter(|code| code.parse::<u32>().is_ok());
    let authority = code.map(|code| format!("<authid>EPSG:{code}</authid>")).unwrap_or_default();
    format!("<spatialrefsys><wkt>{}</wkt>{authority}</spatialrefsys>", escaped(crs.wkt()))
}

/// `path` seen from `folder`, both absolute.
fn relative(folder: &Path, path: &Path) -> String {
    let (from, to): (Vec<Component>, Vec<Component>) =
        (folder.components().collect(), path.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - shared);
    let down = to[shared..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let steps: Vec<String> = up.chain(down).collect();
    let text = steps.join("/");
    if text.starts_with("..") { text } else { format!("./{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_the_project() {
        let from = |path: &str| relative(Path::new("/a/b"), Path::new(path));
        assert_eq!(from("/a/b/c.tif"), "./c.tif");
        assert_eq!(from("/a/b/d/c.tif"), "./d/c.tif");
        assert_eq!(from("/a/c.tif"), "../c.tif");
        assert_eq!(from("/x/c.tif"), "../../x/c.tif");
    }

    #[test]
    fn remote_layers_keep_their_place() {
        let layer = |path: &str| Layer {
            name: "scene".into(),
            path: path.into(),
            crs: None,
            show: Show::Picture { bands: vec![1], range: None },
            visible: true,
        };
        let source = |path: &str| layer(path).source(Path::new("/a")).unwrap();
        assert_eq!(source("https://x.org/a.tif"), "/vsicurl/https://x.org/a.tif");
        assert_eq!(source("/vsis3/bucket/a.tif"), "/vsis3/bucket/a.tif");
    }
}
