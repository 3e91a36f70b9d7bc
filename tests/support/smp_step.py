"""One training step of segmentation_models_pytorch: smp_step.py NETWORK FILE INPUT TRUTH N C H W OUTPUT

NETWORK is Python that makes the network, FILE its weights. Without dropout and drop connect, in double precision, with
the mean binary cross-entropy. OUTPUT (JSON) gets the loss and the norm of the gradient of every tensor.
"""
import json
import sys

import numpy
import safetensors.torch
import segmentation_models_pytorch as smp
import torch

network, file, image, truth, *shape, target = sys.argv[1:]
n, c, h, w = [int(size) for size in shape]
network = eval(network, {"smp": smp})
network.load_state_dict(safetensors.torch.load_file(file), strict=True)
network.encoder._drop_connect_rate = 0.0
for module in network.modules():
    if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
        module.p = 0.0
network = network.double().train()


def read(path, shape):
    return torch.from_numpy(numpy.fromfile(path, numpy.float32).reshape(shape)).double()


logits = network(read(image, [n, c, h, w]))
loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, read(truth, list(logits.shape)))
loss.backward()
norms = {name: float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None}
with open(target, "w") as out:
    json.dump({"loss": float(loss), "norms": norms}, out)
