"""One training step of segmentation_models_pytorch: smp_step.py NETWORK FILE INPUT TRUTH N C H W OUTPUT

NETWORK is Python that makes the network, FILE its weights. Without dropout and drop connect, with the mean binary
cross-entropy. OUTPUT (JSON) gets the loss and the norm of the gradient of every tensor, in double ("f64") and in single
precision ("f32").
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
network.train()


def read(path, shape):
    return torch.from_numpy(numpy.fromfile(path, numpy.float32).reshape(shape))


def step(dtype):
    network.to(dtype).zero_grad()
    logits = network(read(image, [n, c, h, w]).to(dtype))
    labels = read(truth, list(logits.shape)).to(dtype)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    norms = {name: float(gradient.double().norm()) for name, gradient in gradients.items()}
    return {"loss": float(loss), "norms": norms}


with open(target, "w") as out:
    json.dump({"f32": step(torch.float32), "f64": step(torch.float64)}, out)
