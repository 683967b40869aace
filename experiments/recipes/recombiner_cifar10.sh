#!/bin/sh
# RECOMBINER's prior for CIFAR-10 (positional encodings, about 1 bpp): an .npz file with images uint8[M, 32, 32, 3] ->
# recombiner.safetensors. 26 minutes of one CPU core; four times the rounds and a larger batch suit a GPU.
exec recjax train-prior "${1:?file of images}" recombiner.safetensors --rate 1.0 --rounds 700 --batch 512 \
    --steering 0.003 --cells 8 8 --depth 4
