//! A tile set into a model.
