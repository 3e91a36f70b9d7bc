//! The operators that burn does too slowly or not at all.
