//! A scene into scores.
