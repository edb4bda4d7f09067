"""Published vocoders at their papers' sizes, with random weights, for the time they take.

benchmarks/vocoder.py starts this script in an environment of its own:

    pip install torch torchaudio transformers vocos
    python benchmarks/vocoder.py evaluate 16000 --peers other/bin/python

A line with a name on standard input runs that network once on ten seconds of sound; the answer
is the number of seconds it took. The line `names` lists the networks.
"""

import sys
import time

import torch
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

SECONDS = 10


def hifi_gan_v1():
    "HiFi-GAN V1 at 16 kHz with a hop of 256, and its input."
    config = SpeechT5HifiGanConfig(
        upsample_rates=[8, 8, 2, 2],
        upsample_kernel_sizes=[16, 16, 4, 4],  # the defaults of the rest are V1's
    )
    network = SpeechT5HifiGan(config).eval()
    mel = torch.randn(SECONDS * 16000 // 256, 80)
    return lambda: network(mel)


def vocos():
    "Vocos (mel-24khz) at 24 kHz with a hop of 256, and its input."
    backbone = VocosBackbone(
        input_channels=100, dim=512, intermediate_dim=1536, num_layers=8
    ).eval()
    head = ISTFTHead(dim=512, n_fft=1024, hop_length=256, padding="center").eval()
    mel = torch.randn(1, 100, SECONDS * 24000 // 256)
    return lambda: head(backbone(mel))


def main():
    networks = {"HiFi-GAN V1, 16 kHz": hifi_gan_v1(), "Vocos, 24 kHz": vocos()}
    for line in map(str.strip, sys.stdin):
        if line == "names":
            print(";".join(networks), flush=True)
            continue
        start = time.perf_counter()
        networks[line]()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
