//! Section `[output]`: how features are written.

use serde::{Deserialize, Serialize};

use crate::geo::vector::OutputCrs;

/// What files of features have in common; the extension chooses the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputOptions {
    /// CRS of the coordinates.
    pub crs: OutputCrs,
}
