//! Scores into buildings.
