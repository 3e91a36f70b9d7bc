//! Rasters and vectors in the world: grids, scenes, footprints, coordinate reference systems.
