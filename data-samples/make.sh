#!/bin/sh
# Draws the four scenes of this folder again. GEOSEG names the program (default: geoseg on the PATH).
set -eu
cd "$(dirname "$0")"
for scene in train_a train_b val test; do
    "${GEOSEG:-geoseg}" synth --config "$scene.toml" --output . --overwrite
done
