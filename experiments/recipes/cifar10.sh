#!/bin/sh
# Transform priors for CIFAR-10 at three rates: an .npz file with images uint8[M, 32, 32, 3] -> cifar10-1.safetensors to
# cifar10-3.safetensors. Half an hour of one CPU core. Then: python -m experiments.cifar10 --priors cifar10-*.safetensors
exec recjax train transform "${1:?file of images}" cifar10 --prices 4e-3 1.5e-3 6e-4 --steps 14000 \
    --levels 4 --crop 32 --batch 64 --scales --no-recolour
