"""Published vocoders at their papers' sizes, with random weights, for the time they take: benchmarks/vocoder.py starts this.

    pip install torch torchaudio transformers vocos    # in an environment of its own
    python benchmarks/vocoder.py evaluate 16000 --peers other/bin/python

A line `name` on standard input runs that network once on ten seconds; `name seconds` comes back. `names` lists them.
"""

import sys
import time

import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

SECONDS = 10
V1 = dict(
    upsample_rates=[8, 8, 2, 2], upsample_kernel_sizes=[16, 16, 4, 4]
)  # the rest is V1's already
hifi = SpeechT5HifiGan(SpeechT5HifiGanConfig(**V1)).eval()  # at 16 kHz, hop 256
trunk, head = (
    VocosBackbone(100, 512, 1536, 8).eval(),
    ISTFTHead(512, 1024, 256, "center").eval(),
)  # 24 kHz, hop 256: mel-24khz
low, high = torch.randn(SECONDS * 16000 // 256, 80), torch.randn(1, 100, SECONDS * 24000 // 256)
NETS = {"HiFi-GAN V1, 16 kHz": lambda: hifi(low), "Vocos, 24 kHz": lambda: head(trunk(high))}

with torch.inference_mode():
    for line in map(str.strip, sys.stdin):
        if line == "names":
            print(";".join(NETS), flush=True)
        else:
            start = time.perf_counter()
            NETS[line]()
            print(time.perf_counter() - start, flush=True)
