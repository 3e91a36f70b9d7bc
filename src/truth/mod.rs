//! Footprints, and masks of photos, into labels.
//!
//! Footprints become pixel coordinates of the scene once, through the inverse geotransform; from
//! there on rotated, south-up and north-up scenes are alike. A mask of any scale and window is then a
//! matter of scaling and shifting.

mod edges;
mod mask;
pub mod photos;
mod rasterize;

use geo::{BoundingRect, Intersects, MapCoords, MultiPolygon};
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

pub use mask::Mask;

use crate::error::{Error, Result};
use crate::geo::{Grid, Window};

/// Not a building.
pub const BACKGROUND: u8 = 0;
/// Inside a building.
pub const BUILDING: u8 = 1;
/// Inside a building, near its outline.
pub const BOUNDARY: u8 = 2;
/// Between two near buildings.
pub const CONTACT: u8 = 3;
/// Unknown: outside the area of interest or without data. No loss and no metric looks at it.
pub const IGNORE: u8 = 255;

/// Whether a label is inside a building.
pub fn is_building(label: u8) -> bool {
    matches!(label, BUILDING | BOUNDARY)
}

/// Names of the labels from 0 on, as a tile set lists them.
const CLASSES: [&str; 4] = ["background", "building", "boundary", "contact"];

/// A box in the scene's pixels with the number of what it bounds.
type Boxed = GeomWithData<Rectangle<[f64; 2]>, usize>;

/// How footprints become labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TruthOptions {
    /// Every pixel that a footprint touches is building, not only those whose centre it covers.
    pub all_touched: bool,
    /// Width of [`BOUNDARY`] along the inside of outlines, metres; at least one pixel wide.
    pub boundary_m: Option<f64>,
    /// Widest gap between two buildings that [`CONTACT`] fills, metres.
    pub contact_m: Option<f64>,
}

impl Default for TruthOptions {
    fn default() -> Self {
        Self { all_touched: true, boundary_m: None, contact_m: None }
    }
}

impl TruthOptions {
    /// Names of the mask values from 0 on.
    pub fn classes(&self) -> Vec<String> {
        let count = match (self.boundary_m, self.contact_m) {
            (_, Some(_)) => 4,
            (Some(_), None) => 3,
            (None, None) => 2,
        };
        CLASSES[..count].iter().map(|&name| name.to_owned()).collect()
    }
}

/// The footprints of one scene, ready to be burned at any scale. Shared between threads.
#[derive(Debug)]
pub struct Truth {
    options: TruthOptions,
    /// Columns and rows of the scene.
    size: (usize, usize),
    /// Ground size of a scene pixel, metres; (1, 1) where unknown and not needed.
    gsd_m: (f64, f64),
    buildings: Vec<MultiPolygon<f64>>,
    index: RTree<Boxed>,
    aoi: Option<Vec<MultiPolygon<f64>>>,
    /// Pairs of buildings whose gap is at most `contact_m`, and where that gap can lie.
    pairs: Vec<(usize, usize)>,
    pair_index: RTree<Boxed>,
}

impl Truth {
    /// Brings footprints and area of interest, both in the CRS of `native`, into its pixels.
    ///
    /// # Errors
    /// A width in metres is asked for on a grid whose ground size is unknown, or the geotransform
    /// has no inverse.
    pub fn prepare(
        footprints: &[MultiPolygon<f64>],
        aoi: Option<&[MultiPolygon<f64>]>,
        native: &Grid,
        options: &TruthOptions,
    ) -> Result<Self> {
        let metres = options.boundary_m.is_some() || options.contact_m.is_some();
        let gsd_m = match native.gsd_m {
            Some(gsd_m) => gsd_m,
            None if metres => {
                return Err(Error::config(
                    "truth",
                    "boundary_m and contact_m need a georeferenced scene; leave them out",
                ));
            }
            None => (1.0, 1.0),
        };
        let inverse = native.transform.invert().ok_or_else(|| {
            Error::config(
                "scene",
                "the scene's geotransform has no inverse: its pixels have no area",
            )
        })?;
        let to_pixels = |shapes: &[MultiPolygon<f64>]| -> Vec<MultiPolygon<f64>> {
            shapes
                .iter()
                .map(|shape| {
                    shape.map_coords(|at| {
                        let (x, y) = inverse.apply(at.x, at.y);
                        geo::Coord { x, y }
                    })
                })
                .collect()
        };
        let buildings = to_pixels(footprints);
        let index = RTree::bulk_load(
            buildings
                .iter()
                .enumerate()
                .filter_map(|(id, shape)| Some(boxed(bounds(shape)?, id)))
                .collect(),
        );
        let (pairs, regions) = match options.contact_m {
            Some(contact_m) => edges::near_pairs(&buildings, &index, gsd_m, contact_m),
            None => (Vec::new(), Vec::new()),
        };
        let pair_index = RTree::bulk_load(
            regions.into_iter().enumerate().map(|(id, region)| boxed(region, id)).collect(),
        );
        Ok(Self {
            options: *options,
            size: (native.width, native.height),
            gsd_m,
            buildings,
            index,
            aoi: aoi.map(to_pixels),
            pairs,
            pair_index,
        })
    }

    /// Number of footprints.
    pub fn len(&self) -> usize {
        self.buildings.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.buildings.is_empty()
    }

    /// Bounding boxes `[x0, y0, x1, y1]` of the footprints that touch the scene, in its pixels.
    pub fn boxes(&self) -> Vec<[f64; 4]> {
        let (width, height) = (self.size.0 as f64, self.size.1 as f64);
        self.buildings
            .iter()
            .filter_map(bounds)
            .filter(|[x0, y0, x1, y1]| *x1 > 0.0 && *y1 > 0.0 && *x0 < width && *y0 < height)
            .collect()
    }

    /// Whether the area of interest covers any pixel of the scene; true where there is none.
    pub fn aoi_touches_scene(&self) -> bool {
        let scene = geo::Rect::new((0.0, 0.0), (self.size.0 as f64, self.size.1 as f64));
        self.aoi.as_ref().is_none_or(|aoi| aoi.iter().any(|shape| shape.intersects(&scene)))
    }

    /// The numbers of the footprints that touch `window` of `grid`, ascending.
    pub fn buildings_in(&self, grid: &Grid, window: Window) -> Vec<usize> {
        let view = View::new(self.size, grid, window);
        let [x0, y0, x1, y1] = view.rect();
        let rect = geo::Rect::new((x0, y0), (x1, y1));
        self.near(&self.index, view.rect())
            .into_iter()
            .filter(|&id| self.buildings[id].intersects(&rect))
            .collect()
    }

    /// Labels of `window` of `grid`, which spans the scene at any scale (`[row, col]`). `valid` says
    /// where the scene has data; elsewhere, and outside the area of interest, the label is
    /// [`IGNORE`].
    ///
    /// # Errors
    /// GDAL refuses to burn.
    pub fn rasterize(&self, grid: &Grid, window: Window, valid: &[bool]) -> Result<Vec<u8>> {
        let view = View::new(self.size, grid, window);
        let near = self.near(&self.index, view.rect());
        let shapes = near.iter().map(|&id| &self.buildings[id]);
        let mut labels = rasterize::polygons(shapes, &view, BUILDING, self.options.all_touched)?;
        if let Some(boundary_m) = self.options.boundary_m {
            let reach_m = boundary_m.max(view.half_diagonal_m(self.gsd_m));
            let (reach_x, reach_y) = (reach_m / self.gsd_m.0, reach_m / self.gsd_m.1);
            let [x0, y0, x1, y1] = view.rect();
            let around = [x0 - reach_x, y0 - reach_y, x1 + reach_x, y1 + reach_y];
            for id in self.near(&self.index, around) {
                edges::mark_boundary(&mut labels, &self.buildings[id], &view, self.gsd_m, reach_m);
            }
        }
        if let Some(contact_m) = self.options.contact_m {
            for found in self.pair_index.locate_in_envelope_intersecting(&envelope(view.rect())) {
                let (a, b) = self.pairs[found.data];
                let region = found.geom();
                let region =
                    [region.lower()[0], region.lower()[1], region.upper()[0], region.upper()[1]];
                let pair = (&self.buildings[a], &self.buildings[b]);
                edges::mark_contact(&mut labels, pair, region, &view, self.gsd_m, contact_m);
            }
        }
        if let Some(aoi) = &self.aoi {
            let inside = rasterize::polygons(aoi.iter(), &view, 1, false)?;
            for (label, inside) in labels.iter_mut().zip(inside) {
                if inside == 0 {
                    *label = IGNORE;
                }
            }
        }
        for (label, valid) in labels.iter_mut().zip(valid) {
            if !valid {
                *label = IGNORE;
            }
        }
        Ok(labels)
    }

    /// Numbers of the boxes that touch `rect`, ascending: the tree's own order is not part of its
    /// promise.
    #[expect(clippy::unused_self, reason = "reads as a question to the truth")]
    fn near(&self, index: &RTree<Boxed>, rect: [f64; 4]) -> Vec<usize> {
        let mut ids: Vec<usize> = index
            .locate_in_envelope_intersecting(&envelope(rect))
            .map(|found| found.data)
            .collect();
        ids.sort_unstable();
        ids
    }
}

/// A window of a resampled grid, seen from the scene's own pixels.
#[derive(Clone, Copy, Debug)]
struct View {
    window: Window,
    /// Scene pixels per pixel of the window along (columns, rows).
    scale: (f64, f64),
}

impl View {
    fn new(size: (usize, usize), grid: &Grid, window: Window) -> Self {
        let scale = (size.0 as f64 / grid.width as f64, size.1 as f64 / grid.height as f64);
        Self { window, scale }
    }

    /// The window in scene pixels.
    fn rect(&self) -> [f64; 4] {
        let ((sx, sy), w) = (self.scale, self.window);
        [w.col as f64 * sx, w.row as f64 * sy, w.right() as f64 * sx, w.bottom() as f64 * sy]
    }

    /// Scene pixels to pixels of the window.
    fn to_window(self, x: f64, y: f64) -> (f64, f64) {
        (x / self.scale.0 - self.window.col as f64, y / self.scale.1 - self.window.row as f64)
    }

    /// The centre of a pixel of the window in scene pixels.
    fn centre(&self, col: usize, row: usize) -> (f64, f64) {
        (
            ((self.window.col + col) as f64 + 0.5) * self.scale.0,
            ((self.window.row + row) as f64 + 0.5) * self.scale.1,
        )
    }

    /// Half the diagonal of a pixel of the window: an edge through a pixel is never farther from its
    /// centre.
    fn half_diagonal_m(&self, gsd_m: (f64, f64)) -> f64 {
        0.5 * (self.scale.0 * gsd_m.0).hypot(self.scale.1 * gsd_m.1)
    }
}

fn bounds(shape: &MultiPolygon<f64>) -> Option<[f64; 4]> {
    shape.bounding_rect().map(|r| [r.min().x, r.min().y, r.max().x, r.max().y])
}

fn boxed([x0, y0, x1, y1]: [f64; 4], id: usize) -> Boxed {
    GeomWithData::new(Rectangle::from_corners([x0, y0], [x1, y1]), id)
}

fn envelope([x0, y0, x1, y1]: [f64; 4]) -> AABB<[f64; 2]> {
    AABB::from_corners([x0, y0], [x1, y1])
}

#[cfg(test)]
mod tests;
