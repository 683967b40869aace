#!/bin/sh
# Transform priors for photographs at four rates, like those inside: FOLDER -> photo-1.safetensors to photo-4.safetensors.
# 47 minutes of one CPU core. Sides of images: at least 128 pixels.
exec recjax train transform "${1:?folder of images}" photo --prices 2.5e-2 7e-3 2e-3 6e-4 --steps 24000
