//! The files of a merge as one sequence of features, in one CRS and with one list of attributes.

use std::collections::HashMap;
use std::path::PathBuf;

use geo::MultiPolygon;

use crate::error::{Error, Result};
use crate::geo::vector::{
    Attribute, FeatureReader, FieldKind, VectorSource, brought, mended, polygons_of,
};
use crate::geo::{Crs, Reprojection};

/// A feature of any of the files.
pub(super) struct Input {
    /// Valid, in the common CRS; `None` without an area, or beyond that CRS.
    pub polygons: Option<MultiPolygon<f64>>,
    /// Number of its scene among [`Inputs::scenes`].
    pub scene: u32,
    /// 0 where it has none.
    pub confidence: f64,
    /// In the order of [`Inputs::fields`].
    pub attributes: Vec<Attribute>,
}

/// All files.
pub(super) struct Inputs {
    files: Vec<File>,
    crs: Option<Crs>,
    fields: Vec<(String, FieldKind)>,
    scenes: Vec<String>,
}

struct File {
    reader: FeatureReader,
    way: Option<Reprojection>,
    /// For each common attribute, the file's own.
    places: Vec<Option<usize>>,
    scene: Option<usize>,
    confidence: Option<usize>,
    /// Numbers of the scenes that were met.
    known: HashMap<String, u32>,
}

impl Inputs {
    /// Opens the files, in the order of their paths.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut paths = paths.to_vec();
        paths.sort();
        let readers = paths
            .iter()
            .map(|path| FeatureReader::open(&VectorSource::file(path)))
            .collect::<Result<Vec<_>>>()?;
        let crs = common_crs(&readers)?;
        let fields = common_fields(&readers);
        let mut files = Vec::new();
        for reader in readers {
            let way = match (reader.crs(), &crs) {
                (Some(from), Some(to)) if !from.same_as(to) => Some(Reprojection::new(from, to)?),
                _ => None,
            };
            files.push(File {
                way,
                places: fields.iter().map(|(name, _)| reader.field(name)).collect(),
                scene: reader.field("scene"),
                confidence: reader.field("confidence"),
                known: HashMap::new(),
                reader,
            });
        }
        Ok(Self { files, crs, fields, scenes: Vec::new() })
    }

    /// The files, in the order in which they are read.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.reader.path().to_owned()).collect()
    }

    /// The CRS that all have or can be brought to.
    pub(super) fn crs(&self) -> Option<&Crs> {
        self.crs.as_ref()
    }

    /// The attributes of all files, in the order in which they are met.
    pub(super) fn fields(&self) -> &[(String, FieldKind)] {
        &self.fields
    }

    /// Names of the scenes that features are numbered by: a scene of one file is another than that of the same
    /// name in the next.
    pub(super) fn scenes(&self) -> &[String] {
        &self.scenes
    }

    /// Features of all files, as far as these say.
    pub(super) fn count(&self) -> u64 {
        self.files.iter().map(|file| file.reader.count()).sum()
    }

    /// Hands every feature to `visit`: the same ones in the same order each time.
    pub(super) fn each(&mut self, mut visit: impl FnMut(Input) -> Result<()>) -> Result<()> {
        let (fields, scenes) = (&self.fields, &mut self.scenes);
        let in_degrees = self.crs.as_ref().is_some_and(Crs::is_geographic);
        for file in &mut self.files {
            let File { reader, way, places, scene, confidence, known } = file;
            reader.each(|feature| {
                let name = scene.map(|field| feature.attributes[field].text()).unwrap_or_default();
                let number = *known.entry(name.clone()).or_insert_with(|| {
                    scenes.push(name);
                    scenes.len() as u32 - 1
                });
                let attributes = places
                    .iter()
                    .zip(fields)
                    .map(|(place, (_, kind))| match place {
                        Some(place) => as_kind(&feature.attributes[*place], *kind),
                        None => Attribute::Null,
                    })
                    .collect();
                visit(Input {
                    scene: number,
                    confidence: confidence
                        .and_then(|field| feature.attributes[field].number())
                        .unwrap_or(0.0),
                    attributes,
                    polygons: feature
                        .geometry
                        .and_then(polygons_of)
                        .and_then(mended)
                        .and_then(|polygons| brought(polygons, way.as_ref(), in_degrees).ok()),
                })
            })?;
        }
        Ok(())
    }
}

/// The files' CRS where they agree, WGS 84 where they differ, none where none has one.
fn common_crs(readers: &[FeatureReader]) -> Result<Option<Crs>> {
    let Some(first) = readers.iter().find_map(FeatureReader::crs) else { return Ok(None) };
    if let Some(without) = readers.iter().find(|reader| reader.crs().is_none()) {
        return Err(Error::input(
            without.path(),
            "a coordinate reference system, as other files have one",
            "none",
            format!("assign it first, for example `ogr2ogr -a_srs {} ...`", first.label()),
        ));
    }
    let same = readers.iter().filter_map(FeatureReader::crs).all(|crs| crs.same_as(first));
    if same { Ok(Some(first.clone())) } else { Crs::wgs84().map(Some) }
}

/// All attributes by name; of different kinds the one that holds both.
fn common_fields(readers: &[FeatureReader]) -> Vec<(String, FieldKind)> {
    let mut fields: Vec<(String, FieldKind)> = Vec::new();
    for (name, kind) in readers.iter().flat_map(FeatureReader::fields) {
        match fields.iter_mut().find(|(known, _)| known == name) {
            None => fields.push((name.clone(), *kind)),
            Some((_, known)) if known == kind => {}
            Some((_, known)) => {
                *known = match (*known, *kind) {
                    (FieldKind::Text, _) | (_, FieldKind::Text) => FieldKind::Text,
                    _ => FieldKind::Real,
                }
            }
        }
    }
    fields
}

fn as_kind(attribute: &Attribute, kind: FieldKind) -> Attribute {
    match (attribute, kind) {
        (Attribute::Int(value), FieldKind::Real) => Attribute::Real(*value as f64),
        (Attribute::Int(_) | Attribute::Real(_), FieldKind::Text) => {
            Attribute::Text(attribute.text())
        }
        (attribute, _) => attribute.clone(),
    }
}
