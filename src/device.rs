//! A device name into a burn backend.
