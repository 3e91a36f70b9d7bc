//! A small tile set on disk, cut from synthetic towns, for runs of the program.

use super::program::Place;

/// Settings of a training of seconds on [`tiles`].
pub const TRAINING: &str = "\
[model]
pyramid_channels = 16
segmentation_channels = 32

[data]
tiles = 'tiles'
crop_px = 32
batch = 2
validation_batch = 2
workers = 2

[run]
steps = 4
validate_every = 2
recalibrate_batches = 2
seed = 5
";

/// Cuts `tiles` in `place`, of one town for training and another for validation, and writes `train.toml`.
pub fn tiles(place: &Place) {
    for (name, seed, origin) in
        [("a", "1", "origin=[400000, 3000000]"), ("b", "2", "origin=[410000, 3000000]")]
    {
        let size = ["--size-px", "128", "--seed", seed, "--set", origin];
        run(place, &[&["synth", "-o", ".", "--name", name], &size[..]].concat());
    }
    let scene = |name: &str, split: &str| {
        format!(
            "[[scene]]\nimage = '{name}.tif'\nfootprints = '{name}.geojson'\nsplit = '{split}'\n"
        )
    };
    let tiles = "[tiles]\ntile_px = 64\noverlap_px = 0\n";
    place.write("dataset.toml", &format!("{tiles}{}{}", scene("a", "train"), scene("b", "val")));
    run(place, &["tiles", "--config", "dataset.toml", "-o", "tiles"]);
    place.write("train.toml", TRAINING);
}

/// Runs the program, which must succeed; what it printed.
pub fn run(place: &Place, arguments: &[&str]) -> String {
    let ran = place.run(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    ran.stdout
}
