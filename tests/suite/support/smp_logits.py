"""Logits of segmentation_models_pytorch with weights from a file: smp_logits.py NETWORK FILE INPUT N C H W OUTPUT

NETWORK is Python that makes the network; FILE is .safetensors or what torch.load reads; INPUT and OUTPUT are float32.
"""
import sys

import numpy
import safetensors.torch
import segmentation_models_pytorch as smp
import torch

network, file, source, *shape, target = sys.argv[1:]
if file.endswith(".safetensors"):
    state = safetensors.torch.load_file(file)
else:
    state = torch.load(file, weights_only=True)
network = eval(network, {"smp": smp}).eval()
network.load_state_dict(state, strict=True)
images = numpy.fromfile(source, numpy.float32).reshape([int(size) for size in shape])
with torch.no_grad():
    network(torch.from_numpy(images)).numpy().tofile(target)
