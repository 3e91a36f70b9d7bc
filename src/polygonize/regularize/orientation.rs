//! The directions that the walls of a building follow.
//!
//! An orientation is an angle modulo a quarter turn: it stands for two axes at right angles. A building may have several (a wing
//! at an angle), and buildings wall to wall that nearly agree share theirs, as all walls of a component vote together.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, FRAC_PI_8};

use super::walls::{Wall, Walls};

/// The orientations of a component, and who follows which.
#[derive(Debug)]
pub(super) struct Orientations {
    /// Radians, 0..PI/2, the one with most walls first.
    pub(super) angles: Vec<f64>,
    /// Indices into `angles` for each building; none where its walls follow no direction.
    pub(super) of: Vec<Vec<u32>>,
}

/// One axis of an orientation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    /// Even and odd numbers are the two axes of an orientation.
    pub(super) id: u32,
    /// Radians.
    pub(super) angle: f64,
}

impl Axis {
    /// The other axis of the orientation.
    fn across(self) -> Self {
        let quarter = if self.id.is_multiple_of(2) { FRAC_PI_2 } else { -FRAC_PI_2 };
        Self { id: self.id ^ 1, angle: self.angle + quarter }
    }
}

/// A wall speaks for an orientation whose axes are nearer to it than their diagonals, radians.
const WINDOW: f64 = FRAC_PI_8;
/// The part of its outline that must lie within the window of an orientation which a building follows.
const FAMILY_SHARE: f64 = 0.3;
/// The part of its outline that the orientations of a building must explain, where a wall counts less the further it is off.
/// Walls in random directions come to a third with one orientation and to two thirds with two.
const EXPLAINED_SHARE: f64 = 0.5;

/// Votes are counted in steps of half a degree.
const BINS: usize = 180;
/// Rounds in which an orientation moves to the mean of its walls.
const SETTLING_ROUNDS: usize = 4;

impl Orientations {
    /// Those of the walls of so many buildings.
    pub(super) fn new(walls: &Walls, buildings: usize) -> Self {
        let mut left: Vec<&Wall> = walls.walls.iter().filter(|wall| !wall.is_cut).collect();
        let mut outlines = vec![0.0; buildings];
        for wall in &left {
            owners(wall).for_each(|owner| outlines[owner] += wall.length);
        }
        // What is left then is no orientation of any building.
        let least = FAMILY_SHARE * outlines.iter().copied().fold(f64::INFINITY, f64::min);
        let mut angles = Vec::new();
        while !left.is_empty() && left.iter().map(|wall| wall.length).sum::<f64>() >= least {
            let angle = settled(strongest(&left), &left);
            let before = left.len();
            left.retain(|wall| deviation(angle, wall.angle).abs() > WINDOW);
            if left.len() == before {
                break;
            }
            angles.push(angle);
        }
        // Metres within the window of each orientation, and what these explain of them.
        let mut shares = vec![vec![(0.0, 0.0); angles.len()]; buildings];
        for wall in walls.walls.iter().filter(|wall| !wall.is_cut) {
            let Some(family) = nearest(&angles, wall.angle) else { continue };
            for owner in owners(wall) {
                let (metres, explained) = &mut shares[owner][family];
                *metres += wall.length;
                *explained += wall.length * agreement(angles[family], wall.angle);
            }
        }
        let followed = |(shares, outline): (Vec<(f64, f64)>, f64)| -> Vec<u32> {
            let mut families: Vec<u32> = (0..shares.len() as u32).collect();
            families.retain(|&f| shares[f as usize].0 >= FAMILY_SHARE * outline);
            let explained: f64 = families.iter().map(|&f| shares[f as usize].1).sum();
            if explained >= EXPLAINED_SHARE * outline { families } else { Vec::new() }
        };
        Self { angles, of: shares.into_iter().zip(outlines).map(followed).collect() }
    }

    /// The axis that each wall is to follow, if any; none for walls of buildings that go `back` and for the scene's edge.
    pub(super) fn axes(&self, walls: &Walls, back: &[bool], tolerance_m: f64) -> Vec<Option<Axis>> {
        let axis = |wall: &Wall| {
            let stays = wall.owners.iter().any(|&owner| back[owner as usize]);
            if stays || wall.is_cut { None } else { self.axis(wall, tolerance_m) }
        };
        let mut axes: Vec<Option<Axis>> = walls.walls.iter().map(axis).collect();
        // A wall between two parallel ones runs across them, if it is short or nearer to a diagonal.
        let is_clear: Vec<bool> = (walls.walls.iter().zip(&axes))
            .map(|(wall, axis)| {
                let agrees = |axis: &Axis| agreement(axis.angle, wall.angle) > 0.0;
                wall.length > tolerance_m && axis.as_ref().is_some_and(agrees)
            })
            .collect();
        for number in (0..axes.len()).filter(|&number| !is_clear[number]) {
            let [before, after] = walls.walls[number].ends.map(|end| {
                let at = walls.at[end as usize].iter().map(|&wall| wall as usize);
                at.filter(|&wall| is_clear[wall]).filter_map(|wall| axes[wall])
            });
            let parallel = before.clone().find(|a| after.clone().any(|b| a.id == b.id));
            if let (Some(_), Some(parallel)) = (axes[number], parallel) {
                axes[number] = Some(parallel.across());
            }
        }
        axes
    }

    /// The nearest axis of the wall's buildings, if turning the wall around its middle moves its ends by `tolerance_m` at
    /// most.
    fn axis(&self, wall: &Wall, tolerance_m: f64) -> Option<Axis> {
        let followed = wall.owners.iter().flat_map(|&owner| &self.of[owner as usize]);
        let family = followed.copied().min_by(|&f, &g| {
            let off = |family: u32| deviation(self.angles[family as usize], wall.angle).abs();
            off(f).total_cmp(&off(g)).then(f.cmp(&g))
        })?;
        let angle = self.angles[family as usize];
        if 0.5 * wall.length * deviation(angle, wall.angle).abs().sin() > tolerance_m {
            return None;
        }
        let turned = (wall.angle - angle).rem_euclid(2.0 * FRAC_PI_2);
        let axis = Axis { id: 2 * family, angle };
        let is_across = (FRAC_PI_4..3.0 * FRAC_PI_4).contains(&turned);
        Some(if is_across { axis.across() } else { axis })
    }
}

/// The buildings at a wall, each once.
fn owners(wall: &Wall) -> impl Iterator<Item = usize> {
    let [one, other] = wall.owners.map(|owner| owner as usize);
    std::iter::once(one).chain((one != other).then_some(other))
}

/// From one direction to the other modulo a quarter turn: -PI/4..PI/4.
fn deviation(from: f64, to: f64) -> f64 {
    let turned = (to - from).rem_euclid(FRAC_PI_2);
    if turned > FRAC_PI_4 { turned - FRAC_PI_2 } else { turned }
}

/// How much a wall speaks for an orientation: 1 along its axes, 0 at the window's edge.
fn agreement(angle: f64, wall: f64) -> f64 {
    (1.0 - (deviation(angle, wall) / WINDOW).powi(2)).max(0.0)
}

fn nearest(angles: &[f64], angle: f64) -> Option<usize> {
    let off = |family: &usize| deviation(angles[*family], angle).abs();
    let nearest = (0..angles.len()).min_by(|f, g| off(f).total_cmp(&off(g)));
    nearest.filter(|family| off(family) <= WINDOW)
}

/// The direction that most metres of wall follow; walls count less the further they are off.
fn strongest(walls: &[&Wall]) -> f64 {
    let step = FRAC_PI_2 / BINS as f64;
    let reach = (0.5 * WINDOW / step) as usize;
    let mut votes = [0.0; BINS];
    for wall in walls {
        let at = (wall.angle.rem_euclid(FRAC_PI_2) / step) as usize % BINS;
        for off in 0..=reach {
            let vote = wall.length * (1.0 - (off as f64 / (reach + 1) as f64).powi(2));
            votes[(at + off) % BINS] += vote;
            if off > 0 {
                votes[(at + BINS - off) % BINS] += vote;
            }
        }
    }
    let mut best = 0;
    for at in 1..BINS {
        if votes[at] > votes[best] {
            best = at;
        }
    }
    (best as f64 + 0.5) * step
}

/// The mean direction of the walls near `angle`. Weighted with the cube of their lengths, it is the one to which they turn with
/// the least squared movement of their points.
fn settled(mut angle: f64, walls: &[&Wall]) -> f64 {
    for _ in 0..SETTLING_ROUNDS {
        let (mut sum, mut weight) = (0.0, 0.0);
        for wall in walls {
            let off = deviation(angle, wall.angle);
            if off.abs() <= WINDOW {
                sum += off * wall.length.powi(3);
                weight += wall.length.powi(3);
            }
        }
        if weight > 0.0 {
            angle = (angle + sum / weight).rem_euclid(FRAC_PI_2);
        }
    }
    angle
}
