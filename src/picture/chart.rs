//! Curves on a grid of panels: training metrics, threshold sweeps.

use std::path::Path;

use image::{RgbImage, imageops};
use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::FontDesc;

use super::axis::Axis;
use super::legend::{Item, Key, Legend};
use super::{failed, save, text};
use crate::error::Result;

pub use super::axis::Scale;

/// One set of axes.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What is drawn, in the form `quantity over abscissa` ("pixel IoU over threshold"): the heading of
    /// the panel, and what follows " over " names the x axis.
    pub label: String,
    /// The curves.
    pub series: Vec<Series>,
    /// The x axis.
    pub x: Scale,
    /// Values of x worth a line across the panel, with their names in the legend.
    pub marks: Vec<(String, f64)>,
}

/// One curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// (x, y) in drawing order. A non-finite point interrupts the curve.
    pub points: Vec<(f64, f64)>,
    /// Dots alone, without lines between them.
    pub dots: bool,
}

/// Size of a panel in the PNG, pixels.
const PANEL_PX: (u32, u32) = (620, 400);
/// Height of the title, pixels.
const TITLE_PX: u32 = 46;
/// plotters' bitmaps are not anti-aliased: they are drawn this much larger and averaged.
const OVERSAMPLING: u32 = 3;

/// Colour-blind safe (Okabe and Ito 2008), strongest contrast first.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(226, 229, 234);

/// Draws `panels` in rows of at most three, under `title`, into a PNG at `path` (replaced if there).
/// Panels without a finite point say so.
///
/// # Errors
/// The file cannot be written.
pub fn curves(path: &Path, title: &str, panels: &[Panel]) -> Result<()> {
    text::register();
    let columns = match panels.len() {
        0 | 1 => 1,
        2 | 4 => 2,
        _ => 3,
    };
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (columns as u32 * PANEL_PX.0, rows as u32 * PANEL_PX.1 + TITLE_PX);
    let (width, height) = (size.0 * OVERSAMPLING, size.1 * OVERSAMPLING);
    let mut buffer = vec![0; width as usize * height as usize * 3];
    {
        let root = BitMapBackend::with_buffer(&mut buffer, (width, height)).into_drawing_area();
        draw(&root, title, panels, (rows, columns)).map_err(|e| failed(path, &e))?;
    }
    let large = RgbImage::from_raw(width, height, buffer)
        .ok_or_else(|| failed(path, &"the buffer has another size"))?;
    save(path, &imageops::thumbnail(&large, size.0, size.1))
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// `px` of the finished picture in pixels of the bitmap that is drawn.
fn px(px: u32) -> u32 {
    px * OVERSAMPLING
}

fn font(size_px: u32) -> FontDesc<'static> {
    (text::FAMILY, px(size_px)).into_font()
}

fn draw(root: &Area<'_>, title: &str, panels: &[Panel], (rows, columns): (usize, usize)) -> Drawn {
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(px(TITLE_PX));
    let at = (px(20) as i32, px(16) as i32);
    head.draw(&Text::new(title.to_owned(), at, font(21).color(&INK)))?;
    for (area, panel) in body.split_evenly((rows, columns)).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel) -> Drawn {
    let abscissa = panel.label.split_once(" over ").map_or("", |(_, abscissa)| abscissa);
    let points = || panel.series.iter().flat_map(|s| &s.points).filter(|p| shown(panel, **p));
    let empty = points().next().is_none();
    let marks = || panel.marks.iter().map(|mark| mark.1).filter(|&x| panel.x.shows(x));
    // Dots at the very ends would be cut in half.
    let margin = if panel.series.iter().any(|series| series.dots) { 0.03 } else { 0.0 };
    let x = Axis::new(&panel.x, points().map(|p| p.0).chain(marks()), margin);
    let y = Axis::new(&Scale::Linear, points().map(|p| p.1), 0.05);

    let legend = Legend::new(items(panel), (PANEL_PX.0 - 20) as usize);
    let body = area.margin(px(10), px(10), px(10), px(24));
    let body = body.titled(&panel.label, font(17).color(&INK))?;
    let (head, body) = body.split_vertically(px(legend.height_px() as u32));
    legend.draw(&head, INK, OVERSAMPLING)?;
    let mut chart = ChartBuilder::on(&body)
        .margin_top(px(8))
        .x_label_area_size(px(44))
        .y_label_area_size(px(64))
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .x_labels(8)
        .y_labels(6)
        .x_desc(abscissa)
        .set_tick_mark_size(LabelAreaPosition::Left, px(5))
        .set_tick_mark_size(LabelAreaPosition::Bottom, px(5))
        .axis_style(INK.stroke_width(OVERSAMPLING))
        .bold_line_style(FAINT.stroke_width(OVERSAMPLING))
        .light_line_style(TRANSPARENT)
        .label_style(font(14).color(&INK))
        .axis_desc_style(font(15).color(&INK))
        .x_label_formatter(&|value| x.label(*value))
        .y_label_formatter(&|value| y.label(*value))
        .draw()?;
    if empty {
        let (width, height) = chart.plotting_area().dim_in_pixel();
        let at = (width as i32 / 2, height as i32 / 2);
        area.draw(&Text::new("no data yet", at, font(14).color(&INK.mix(0.6))))?;
        return Ok(());
    }
    // Lines lie under dots: what was measured is seen.
    let height = y.range();
    for ((_, at), colour) in panel.marks.iter().zip(colours().skip(panel.series.len())) {
        if panel.x.shows(*at) {
            let ends = [(*at, height.start), (*at, height.end)];
            chart.draw_series(LineSeries::new(ends, colour.stroke_width(px(1))))?;
        }
    }
    let any_dots = panel.series.iter().any(|series| series.dots);
    for (series, colour) in panel.series.iter().zip(colours()).filter(|(series, _)| !series.dots) {
        for run in series.points.split(|p| !shown(panel, *p)).filter(|run| !run.is_empty()) {
            chart.draw_series(LineSeries::new(run.iter().copied(), colour.stroke_width(px(2))))?;
            // A lone point has no line; and few points are worth seeing each, unless others are the points.
            if run.len() == 1 || run.len() <= FEW_POINTS && !any_dots {
                chart.draw_series(run.iter().map(|&p| Circle::new(p, px(3), colour.filled())))?;
            }
        }
    }
    for (series, colour) in panel.series.iter().zip(colours()).filter(|(series, _)| series.dots) {
        let points = series.points.iter().filter(|p| shown(panel, **p));
        chart.draw_series(points.map(|&p| Circle::new(p, px(4), colour.filled())))?;
    }
    Ok(())
}

fn colours() -> impl Iterator<Item = RGBColor> {
    COLOURS.iter().copied().cycle()
}

/// What the legend names: series, then marks, of those that are seen.
fn items(panel: &Panel) -> impl Iterator<Item = Item> {
    let series = panel.series.iter().zip(colours());
    let series = series.filter(|(series, _)| series.points.iter().any(|p| shown(panel, *p)));
    let series = series.map(|(series, colour)| Item {
        name: series.name.clone(),
        colour,
        key: if series.dots { Key::Dot } else { Key::Line },
    });
    let marks = panel.marks.iter().zip(colours().skip(panel.series.len()));
    let marks = marks.filter(|(mark, _)| panel.x.shows(mark.1));
    let marks =
        marks.map(|((name, _), colour)| Item { name: name.clone(), colour, key: Key::Line });
    series.chain(marks)
}

/// Up to this many points of a curve are marked.
const FEW_POINTS: usize = 24;

fn shown(panel: &Panel, point: (f64, f64)) -> bool {
    panel.x.shows(point.0) && point.1.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(panels: &[Panel]) -> (u32, u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.png");
        curves(&path, "a title", panels).unwrap();
        image::image_dimensions(path).unwrap()
    }

    #[test]
    fn no_panels_and_panels_without_finite_points_still_give_a_picture() {
        assert_eq!(size_of(&[]), (PANEL_PX.0, PANEL_PX.1 + TITLE_PX));
        let nan = Series {
            name: "loss".into(),
            points: vec![(0.0, f64::NAN), (f64::INFINITY, 1.0)],
            ..Series::default()
        };
        let panels = [
            Panel::default(),
            Panel { label: "loss over step".into(), series: vec![nan], ..Panel::default() },
        ];
        assert_eq!(size_of(&panels), (2 * PANEL_PX.0, PANEL_PX.1 + TITLE_PX));
    }

    #[test]
    fn no_dot_hides_under_a_legend_or_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chart.png");
        let corners = vec![(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)];
        let series = vec![
            Series { name: "finished".into(), points: corners.clone(), dots: true },
            Series { name: "best so far".into(), points: corners, dots: false },
        ];
        let marks = vec![("best".to_owned(), 0.0), ("another mark".to_owned(), 1.0)];
        let label = "IoU over trial".to_owned();
        curves(&path, "a title", &[Panel { label, series, marks, ..Panel::default() }]).unwrap();
        let picture = image::open(path).unwrap().to_rgb8();
        // Below the title, the heading and the legend.
        let top = TITLE_PX + 50;
        let mut seen = [0; 4];
        for (x, y, pixel) in picture.enumerate_pixels().filter(|pixel| pixel.1 >= top) {
            let (right, low) = (x > picture.width() / 2, y > top + (picture.height() - top) / 2);
            let colour = [COLOURS[0].0, COLOURS[0].1, COLOURS[0].2];
            seen[usize::from(right) + 2 * usize::from(low)] += usize::from(pixel.0 == colour);
        }
        assert!(seen.iter().all(|pixels| *pixels > 30), "{seen:?}");
    }

    #[test]
    fn flat_single_huge_and_broken_curves_are_drawn() {
        let series = |points: &[(f64, f64)]| Series {
            name: "s".into(),
            points: points.to_vec(),
            ..Series::default()
        };
        let panel = Panel {
            label: "IoU over step".into(),
            series: vec![
                series(&[(3.0, 0.5)]),
                series(&[(0.0, 0.5), (1.0, f64::NAN), (2.0, 0.5)]),
                series(&[(0.0, 1e300), (1.0, -1e300)]),
                series(&[]),
            ],
            ..Panel::default()
        };
        assert_eq!(size_of(&[panel]).0, PANEL_PX.0);
    }

    #[test]
    fn marks_dots_and_values_that_a_logarithm_lacks_are_drawn() {
        let points = vec![(0.0, 1.0), (1e-5, 0.4), (1e-3, 0.2), (-1.0, 0.3)];
        let series = vec![Series { name: "trial".into(), points, dots: true }];
        let marks = vec![("best".to_owned(), 1e-2), ("none".to_owned(), f64::NAN)];
        for x in [Scale::Linear, Scale::Log, Scale::Names(vec!["a".into()])] {
            let label = "IoU over rate".to_owned();
            let panel = Panel { label, series: series.clone(), x, marks: marks.clone() };
            assert_eq!(size_of(&[panel]).0, PANEL_PX.0);
        }
    }
}
