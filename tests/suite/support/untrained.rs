//! A model that has learnt nothing, which is enough for all but its quality.

use std::path::Path;

use burn::backend::{Flex, flex::FlexDevice};
use geoseg::model::weights::Provenance;
use geoseg::model::{ModelSpec, Network, save};

/// Saves a small network with weights by chance.
pub fn model(path: &Path, seed: u64, gsd_m: f64) {
    let spec = ModelSpec { arch: "carvana-cnn".into(), gsd_m, ..ModelSpec::default() };
    let network = Network::<Flex>::seeded(&spec, seed, &FlexDevice).unwrap();
    save(path, &spec, &network, &Provenance::new()).unwrap();
}
