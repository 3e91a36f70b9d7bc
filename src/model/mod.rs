//! Networks and their weights.
