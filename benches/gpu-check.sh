#!/bin/bash
# Is everything right on this machine's GPU, and how fast is it? Needs the files that `make gpu-bundle` puts beside it, the
# GPU's driver, and for CUDA the toolkit's NVRTC and headers. Minutes; results lie in results/.
set -euo pipefail
cd "$(dirname "$0")"
device=${1:-cuda}
mkdir -p results
G=./geoseg

$G doctor | tee results/doctor.txt

# Operators, a whole step, short trainings against the CPU's; then networks in every number format.
$G check --device "$device" --bench --json results/check.json --overwrite | tee results/check.txt

# From scenes to buildings, as a user would, in single precision and in bf16 where the device has it: what does that cost?
precisions=f32
if grep -q '"format": "bf16"' results/check.json; then precisions='f32 bf16'; fi
$G tiles --config config/demo/dataset.toml -o results/tiles --overwrite
for precision in $precisions; do
  $G train --config config/demo/train.toml --tiles results/tiles -o results/model-$precision --overwrite --device "$device" \
    --precision $precision | tee results/train-$precision.txt
  $G infer data-samples/test.tif --config config/demo/infer.toml --model results/model-$precision/model.safetensors \
    -o results/buildings-$precision.geojson --scores results/scores-$precision.tif --overwrite --device "$device" --precision $precision
  $G eval --predicted results/buildings-$precision.geojson --truth data-samples/test.geojson \
    --json results/metrics-$precision.json --overwrite | tee results/eval-$precision.txt
done
