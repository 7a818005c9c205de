"""Measures training: speed beside PyTorch and flax, tiny Shakespeare, the loss's memory, the input.

python benchmarks/train.py [--only speed,shakespeare,loss,input,mfu] [--quick]

`mfu` needs a GPU and runs only when it is named.
"""

import sys

import train_input
import train_loss
import train_mfu
import train_shakespeare
import train_speed
from command import main

SECTIONS = {
    "speed": [train_speed.speed],
    "shakespeare": [train_shakespeare.shakespeare],
    "loss": [train_loss.memory],
    "input": [train_input.waiting],
}
ON_DEMAND = {"mfu": [train_mfu.mfu]}

if __name__ == "__main__":
    sys.exit(main("train", __doc__.splitlines()[0], SECTIONS, ON_DEMAND))
