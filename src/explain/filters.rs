//! The filters of a convolution, as pictures.

use std::path::Path;

use burn::backend::{Flex, flex::FlexDevice};
use image::{Rgb, RgbImage};
use serde::Serialize;

use super::unknown;
use crate::error::{Error, Result};
use crate::model::{self, ModelSpec, named_tensors};
use crate::picture::grid::{self, Cell};

/// Filters in a picture, input channels of each, and both multiplied: beyond that nobody looks.
const MOST_FILTERS: usize = 64;
const MOST_INPUTS: usize = 16;
const MOST_PICTURES: usize = 256;
/// Side of a filter in the picture, pixels.
const SIDE_PX: u32 = 84;
/// Pictures in a row; more where a filter has more.
const COLUMNS: usize = 8;

/// A convolution of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Convolution {
    /// As the model file names it.
    pub name: String,
    /// `[filters, inputs, rows, cols]`; a depthwise one has one input a filter.
    pub shape: [usize; 4],
    /// In the order of the shape.
    #[serde(skip)]
    pub weights: Vec<f32>,
}

/// The convolutions of a model, in the order of the network.
///
/// # Errors
/// The file is no model.
pub fn convolutions(file: &Path) -> Result<(ModelSpec, Vec<Convolution>)> {
    let (spec, network) = model::load::<Flex>(file, &FlexDevice)?;
    let mut found = Vec::new();
    for (name, data) in named_tensors(&network) {
        let (Some(name), Ok(shape)) =
            (name.strip_suffix(".weight"), <[usize; 4]>::try_from(data.shape.to_vec()))
        else {
            continue;
        };
        let weights = data.into_vec().map_err(|error| {
            Error::input(file, "weights", format!("{name}: {error:?}"), "the file is damaged")
        })?;
        found.push(Convolution { name: name.to_owned(), shape, weights });
    }
    Ok((spec, found))
}

/// The convolution of a name, the first where none is given.
///
/// # Errors
/// The network has no convolution, or none of this name.
pub fn choose<'a>(
    file: &Path,
    convolutions: &'a [Convolution],
    name: Option<&str>,
) -> Result<&'a Convolution> {
    let Some(first) = convolutions.first() else {
        let hint = "choose a model of another architecture";
        return Err(Error::input(file, "a network with convolutions", "none", hint));
    };
    let Some(name) = name else { return Ok(first) };
    convolutions.iter().find(|convolution| convolution.name == name).ok_or_else(|| {
        unknown("--layer", name, convolutions.iter().map(|known| known.name.as_str()))
    })
}

impl Convolution {
    /// One filter as pictures: one in red, green and blue for three inputs, else a grey one for each of the first inputs.
    /// Mid-grey is 0; the largest weight of the filter, by its amount, is black or white.
    fn cells(&self, filter: usize, bands: Option<&[String]>) -> Vec<Cell> {
        let [_, inputs, rows, cols] = self.shape;
        let weights = &self.weights[filter * inputs * rows * cols..][..inputs * rows * cols];
        let largest = weights.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let tone = |input: usize, at: usize| {
            let weight = weights[input * rows * cols + at];
            let share = if largest > 0.0 { weight / largest } else { 0.0 };
            (127.5 + 127.5 * share).round() as u8
        };
        let picture = |inputs: [usize; 3]| {
            RgbImage::from_fn(cols as u32, rows as u32, |x, y| {
                Rgb(inputs.map(|input| tone(input, y as usize * cols + x as usize)))
            })
        };
        if inputs == 3 {
            return vec![Cell { rgb: picture([0, 1, 2]), caption: format!("#{filter}") }];
        }
        let caption = |input: usize| match bands.and_then(|bands| bands.get(input)) {
            Some(band) => format!("#{filter} {band}"),
            None if inputs == 1 => format!("#{filter}"),
            None => format!("#{filter} of #{input}"),
        };
        let shown = 0..inputs.min(MOST_INPUTS);
        shown.map(|input| Cell { rgb: picture([input; 3]), caption: caption(input) }).collect()
    }
}

/// Writes a PNG (replaced if there) of the filters of one convolution. `bands` names its inputs where they are the scene's.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    out: &Path,
    model: &str,
    convolution: &Convolution,
    bands: Option<&[String]>,
) -> Result<()> {
    let [filters, inputs, rows, cols] = convolution.shape;
    // Three inputs are one picture.
    let pictures = if inputs == 3 { 1 } else { inputs.clamp(1, MOST_INPUTS) };
    let shown = filters.min(MOST_FILTERS).min(MOST_PICTURES / pictures);
    let cells: Vec<Cell> = (0..shown).flat_map(|filter| convolution.cells(filter, bands)).collect();
    let title = format!("{} of {model}", convolution.name);
    let of_inputs = match inputs {
        1 => "one input each".to_owned(),
        3 => "three inputs as red, green, blue".to_owned(),
        _ if inputs > MOST_INPUTS => format!("the first {MOST_INPUTS} of {inputs} inputs"),
        _ => format!("{inputs} inputs"),
    };
    let note = format!(
        "{shown} of {filters} filters of {rows} x {cols}, {of_inputs}; mid-grey is 0, each filter by its largest weight"
    );
    // The pictures of a filter stay in one row.
    let columns = pictures * (COLUMNS / pictures).max(1);
    grid::write(out, (&title, &note), &cells, columns, SIDE_PX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convolution(inputs: usize) -> Convolution {
        let weights = (0..2 * inputs * 4).map(|i| i as f32 - 4.0).collect();
        Convolution { name: "first".into(), shape: [2, inputs, 2, 2], weights }
    }

    #[test]
    fn three_inputs_are_colours_and_others_a_grey_picture_each() {
        let cells = convolution(3).cells(0, None);
        assert_eq!((cells.len(), cells[0].caption.as_str()), (1, "#0"));
        // -4, 0, 4 of at most 7.
        assert_eq!(cells[0].rgb.get_pixel(0, 0).0, [55, 128, 200]);
        let bands = ["a", "b", "c", "nir"].map(str::to_owned);
        let cells = convolution(4).cells(1, Some(&bands));
        assert_eq!((cells.len(), cells[3].caption.as_str()), (4, "#1 nir"));
        // The last weight is the largest.
        assert_eq!(cells[3].rgb.get_pixel(1, 1).0, [255; 3]);
        let flat = Convolution { weights: vec![0.0; 8], ..convolution(1) };
        assert_eq!(flat.cells(0, None)[0].rgb.get_pixel(0, 0).0, [128; 3]);
    }
}
