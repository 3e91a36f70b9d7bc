//! Which classes of a model make which band of the scores.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// The class whose probability is the score.
const BUILDING: &str = "building";
/// Classes that part buildings: along the inside of their outlines, and on the narrow ground between two.
const WALLS: [&str; 2] = ["boundary", "contact"];

/// Pixels that one task turns into probabilities.
const TASK_PX: usize = 1 << 14;

/// The classes of a model behind the bands of the scores ([`crate::scores::BANDS`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoredClasses {
    /// For each band the classes that it stands for.
    bands: Vec<Vec<usize>>,
}

impl ScoredClasses {
    /// Those of a model: a band of buildings, and one of walls where it knows any.
    ///
    /// # Errors
    /// As [`scored_class`].
    pub fn of(spec: &ModelSpec) -> Result<Self> {
        let mut buildings = vec![scored_class(spec)?];
        if spec.is_exclusive() {
            // What is a boundary is no `building` then, but lies in one.
            buildings.extend(spec.classes.iter().position(|class| class == WALLS[0]));
        }
        let is_wall = |class: &usize| WALLS.contains(&&*spec.classes[*class]);
        let walls: Vec<usize> = (0..spec.classes.len()).filter(is_wall).collect();
        let bands = [buildings, walls].into_iter().filter(|classes| !classes.is_empty());
        Ok(Self { bands: bands.collect() })
    }

    /// Bands of the scores.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Logits `[n, classes, row, col]` of a network to probabilities `[n, band, row, col]`, `px` being the pixels of an image.
    pub fn probabilities(&self, logits: &[f32], px: usize, spec: &ModelSpec) -> Vec<f32> {
        let image_len = spec.classes.len() * px;
        let mut scores = Vec::with_capacity(logits.len() / image_len * self.bands.len() * px);
        for image in logits.chunks_exact(image_len) {
            for classes in &self.bands {
                let start = scores.len();
                scores.extend(probabilities(image, px, classes[0], spec));
                for &class in &classes[1..] {
                    let both =
                        scores[start..].iter_mut().zip(probabilities(image, px, class, spec));
                    both.for_each(|(score, other)| {
                        *score =
                            if spec.is_exclusive() { *score + other } else { score.max(other) };
                    });
                }
            }
        }
        scores
    }
}

/// The index of the class that is scored.
///
/// # Errors
/// The model has several classes, and none of them is `building`.
pub fn scored_class(spec: &ModelSpec) -> Result<usize> {
    match spec.classes.iter().position(|class| class == BUILDING) {
        Some(class) => Ok(class),
        None if spec.classes.len() == 1 => Ok(0),
        None => Err(Error::config(
            "classes",
            format!("the model knows {}, but no `{BUILDING}`", spec.classes.join(", ")),
        )),
    }
}

/// Logits `[classes, row, col]` of an image to probabilities of one class: a softmax of classes that exclude each other
/// ([`ModelSpec::is_exclusive`]), else a sigmoid of its own logit.
pub fn probabilities(image: &[f32], px: usize, class: usize, spec: &ModelSpec) -> Vec<f32> {
    let classes = spec.classes.len();
    let exclusive = spec.is_exclusive() && classes > 1;
    let of = |class: usize, i: usize| image[class * px + i];
    // 1 / (1 + sum of exp(other - scored)), the sum being exp(-logit) for a class of its own.
    let pixels = (0..px).into_par_iter().with_min_len(TASK_PX).map(|i| {
        let others: f32 = if exclusive {
            let others = (0..classes).filter(|other| *other != class);
            others.map(|other| (of(other, i) - of(class, i)).exp()).sum()
        } else {
            (-of(class, i)).exp()
        };
        1.0 / (1.0 + others)
    });
    pixels.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(classes: &[&str]) -> ModelSpec {
        let classes = classes.iter().map(ToString::to_string).collect();
        ModelSpec { classes, ..ModelSpec::default() }
    }

    fn sigmoid(z: f32) -> f32 {
        1.0 / (1.0 + (-z).exp())
    }

    fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        assert!(
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?} {expected:?}"
        );
    }

    #[test]
    fn probabilities_are_a_sigmoid_or_a_softmax() {
        let one = |logits: &[f32], class: usize, classes: &[&str]| -> f32 {
            probabilities(logits, 1, class, &spec(classes))[0]
        };
        near(&[one(&[0.4], 0, &["building"])], &[sigmoid(0.4)]);
        // What is not even near a building is none, however much less it is a boundary.
        near(&[one(&[-3.0, -9.0], 0, &["building", "boundary"])], &[sigmoid(-3.0)]);
        let sum: f32 = [0.1f32, 0.7, -2.0].iter().map(|z| z.exp()).sum();
        let three = ["background", "building", "boundary"];
        near(&[one(&[0.1, 0.7, -2.0], 1, &three)], &[0.7f32.exp() / sum]);
        // Far beyond what exp can hold, either way.
        assert_eq!(one(&[-200.0], 0, &["building"]), 0.0);
        assert_eq!(one(&[200.0, -200.0], 0, &["background", "building"]), 1.0);
    }

    #[test]
    fn walls_are_whichever_class_of_them_is_likelier() {
        let spec = spec(&["building", "boundary", "contact"]);
        let scored = ScoredClasses::of(&spec).unwrap();
        assert_eq!(scored.bands(), 2);
        // Two images of two pixels.
        let logits = [1.0, 2.0, 0.5, -1.0, -0.5, 3.0, -1.0, -2.0, 0.0, 0.25, 0.125, -4.0];
        let found = scored.probabilities(&logits, 2, &spec);
        near(&found, &[1.0, 2.0, 0.5, 3.0, -1.0, -2.0, 0.125, 0.25].map(sigmoid));
    }

    #[test]
    fn of_classes_that_exclude_each_other_a_boundary_is_part_of_its_building() {
        let spec = spec(&["background", "building", "boundary", "contact"]);
        let scored = ScoredClasses::of(&spec).unwrap();
        let (logits, sum) = ([0.0f32, 1.0, 2.0, 3.0], 1.0 + 1f32.exp() + 2f32.exp() + 3f32.exp());
        let found = scored.probabilities(&logits, 1, &spec);
        near(&found, &[(1f32.exp() + 2f32.exp()) / sum, (2f32.exp() + 3f32.exp()) / sum]);
    }

    #[test]
    fn a_model_without_walls_has_one_band() {
        for classes in [&["building"][..], &["roof"], &["background", "building"]] {
            assert_eq!(ScoredClasses::of(&spec(classes)).unwrap().bands(), 1);
        }
        let problem = ScoredClasses::of(&spec(&["roof", "road"])).unwrap_err().to_string();
        assert!(problem.contains("no `building`"), "{problem}");
    }
}
