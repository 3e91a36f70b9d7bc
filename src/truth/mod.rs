//! Footprints into label masks.

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
