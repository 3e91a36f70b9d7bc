//! Outlines of buildings that may share walls: rings over common vertices.

use super::simplify::Point;

/// The buildings of one component of the mask.
///
/// A wall that two buildings share runs over the same vertices in both, so whoever moves or removes a vertex does so for both, and
/// neither a gap nor an overlap arises between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mesh {
    /// Metres from the scene's upper left: along columns, along rows.
    pub(super) points: Vec<Point>,
    /// Rings of each building, the outer one first.
    pub(super) buildings: Vec<Vec<Ring>>,
}

/// Indices of a closed ring's vertices (the first is not repeated). On a screen an outer ring runs counter-clockwise and a hole clockwise.
pub(super) type Ring = Vec<u32>;
