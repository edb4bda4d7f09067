"""Train what ships: `GAN_AUDIO_TUT_DATA_DIR=... python tools/train_pretrained.py NAME [--minutes M]`.

classifier-8k   names digits and voices; learned from FSDD's training recordings 10 to 49
voice-8k        the spectral head that says digits; learned from FSDD's official training recordings
specgan-8k     the picture GAN that draws digits for the vocoder; learned from the same
drums-16k       the spectral head that plays a drum machine; learned from hits that the package makes
vocoder-8k, vocoder-16k
                from mel spectrograms to waveforms; trained on words of three speakers of FSDD,
                the voices that `tools/make_voices.py runs/voices --minutes 100` makes, the
                restorers' data, and noise; computed elsewhere, by tools/vocoder_on_jax.py
restore-8k, restore-16k
                from degraded to clean speech; trained on what tools/restoration_data.py gathers;
                the second's first stage was computed elsewhere, by tools/restorer_on_jax.py

All but the recogniser train in legs of `--minutes`: stopped or run again, they go on from runs/NAME. What ships had 35
minutes of one core (the voice, the pictures), 25 (the drums), or the steps below (the vocoders, the restorers).
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

from gan_audio_tut import (
    audio,
    audio_io,
    datasets,
    degrade,
    fidelity,
    istft_gan,
    metrics,
    restoration_net,
    restoration_training,
    runs,
    specgan,
    training,
    vocoder,
    vocoder_training,
    weights,
)
from gan_audio_tut.mel import mel_to_audio

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import restoration_data  # noqa: E402 - found through the line above
import vocoder as vocoder_benchmark  # noqa: E402 - what ships is evaluated as the benchmark does

VOICES_LEARNED = "telephone prompts, readings and letters from Debian's free packages (tools/fetch_speech.py names authors and licences), espeak-ng voices"
LICENCES = "CC BY-SA 3.0, CC BY 3.0, BSD, GPL 2 or later"
FSDD = {
    "data": "Free Spoken Digit Dataset (Jakobovski et al.)",
    "data_licence": "CC BY-SA 4.0",
    "licence": "CC BY-SA 4.0",
}


def figures(found):
    return {
        metrics.COLUMNS[k]: round(float(np.min(found[k])), 3) for k in metrics.COLUMNS if k in found
    }


def recogniser(name, minutes, seed=1):
    train, valid, test = (datasets.fsdd(s) for s in ("train", "valid", "test"))
    keras.utils.set_random_seed(seed)
    model = metrics.build_classifier(10, speakers=len(train.speaker_names))
    start = time.process_time()
    history = metrics.train_classifier(model, train, valid, seed=seed, verbose=2)
    cpu, out = time.process_time() - start, metrics.predict_features(model, test.audio)
    right = {
        "digit": np.mean(out["label"].argmax(1) == test.labels),
        "speaker": np.mean(out["speaker"].argmax(1) == test.speakers),
    }
    weights.save_pretrained(
        name,
        model,
        FSDD
        | {
            "about": "names spoken digits and five voices; its features measure distances between clips",
            "trained_on": f"{len(train)} recordings, index 10 and up",
            "sr": train.sr,
            "samples": train.audio.shape[1],
            "classes": list(train.classes),
            "voices": list(train.speaker_names),
            "epochs": len(history.epoch),
            "cpu_s": round(cpu),
            "seed": seed,
            "scores": {"official test": {k: round(float(v), 4) for k, v in right.items()}},
            "limits": "English digits in five voices; other speakers and rooms are heard less well",
        },
    )


def thinned(rows, n=40):
    "The mean rows of `n` stretches of a run, for the card."
    names = ("d_loss", "g_loss", "real_logit", "fake_logit", "d_ranking_accuracy")
    parts = np.array_split(rows, min(n, len(rows)))
    return [
        {
            "step": part[-1]["step"],
            **{k: round(float(np.mean([r[k] for r in part])), 4) for k in names},
        }
        for part in parts
    ]


def ship_voice(name, net, facts, judge, mel, unheard):
    "Judge a generator of digits and put it among the shipped ones; `facts` are its data, recipe, steps, CPU seconds, seed and curve."
    labels, draws = np.repeat(np.arange(10), 100), len(net.output_shape) == 3
    out = specgan.sample(net, labels, seed=2026)
    ways = (
        {f"{name} by vocoder-8k": weights.load_model("vocoder-8k"), f"{name} by Griffin-Lim": None}
        if draws
        else {name: None}
    )
    made = {k: specgan.decode_audio(out, mel, vocoder=v) for k, v in ways.items()}
    found = {k: judge(y, labels) for k, y in made.items()}
    pulses = {
        k: round(istft_gan.f0_envelope_modulation(y, mel.sr), 3)
        for k, y in (made | {"real, held out": unheard.audio}).items()
    }
    fresh = {
        k: v for k, v in judge(unheard.audio, unheard.labels).items() if k != "nearest"
    }  # the voice has learned from these too
    scores = {
        "real test (itself)": judge.relative([judge.real_test]),
        "real train": judge.relative(judge.real_train),
        "real, held out": fresh,
        **found,
    }
    print(metrics.score_table(scores), *(v["voices"] for v in found.values()), pulses)
    about = (
        {
            "about": "draws the digits 0 to 9 from noise as mel pictures, for a vocoder to say; five voices at 8 kHz",
            "vocoder": "vocoder-8k",
        }
        if draws
        else {"about": "says the digits 0 to 9 from noise: the spectral head; five voices at 8 kHz"}
    )
    weights.save_pretrained(
        name,
        net,
        facts
        | FSDD
        | about
        | {
            "f0_modulation": pulses,
            "judged_by": "classifier-8k, 1000 clips, no selection, official test",
            "scores": {k: figures(v) for k, v in scores.items()},
            "limits": "single English digits of about a second, as on a telephone",
        },
    )


def leg(folder, state, config, minutes=None, steps=None):
    "Go on with a run of our own, for minutes or to a step: its averaged generator; its steps, CPU seconds and curve."
    if not (minutes or Path(folder, "config.json").exists()):
        raise audio.InputError(f"{folder}: nothing to judge yet; train it with --minutes")
    run = runs.open_run(folder, config, resume=True)
    recorder = runs.CheckpointCallback(run, state, checkpoint_every=500)
    if minutes or steps:
        training.fit(state, steps, minutes and 60 * minutes, callbacks=[recorder])
    recorder.finish(state)
    rows = runs.read_csv(run / "metrics.csv")
    return state.ema_generator, {
        "steps": int(state.step),
        "cpu_s": round(runs.read_csv(run / "timing.csv")[-1]["cpu_s"]),
        "curve": thinned(rows),
    }


VOICES = {
    "voice-8k": (istft_gan.build_istft_gan, istft_gan.RECIPES["istft"]),
    "specgan-8k": (specgan.build_specgan, specgan.RECIPES["specgan"]),
}


def voice(name, minutes, seed=0):
    clips, (gan, recipe) = datasets.fsdd("train+valid"), VOICES[name]
    mel = specgan.infer_mel_config(clips)
    config = {
        "data": "fsdd",
        "classes": list(clips.classes),
        "seed": seed,
        "mel": vars(mel),
        "settings": vars(recipe),
    }
    net, facts = leg(f"runs/{name}", gan(clips, recipe, mel, seed), config, minutes)
    facts |= config | {"trained_on": f"{len(clips)} recordings, the official training set"}
    judge = metrics.Evaluator(weights.load_model("classifier-8k"), clips, datasets.fsdd("test"))
    ship_voice(name, net, facts, judge, mel, datasets.fsdd("valid"))


def drums(name, minutes, seed=0):
    clips, recipe = datasets.drums("train", n_per_class=500), istft_gan.RECIPES["istft"]
    mel = specgan.infer_mel_config(clips)
    config = {
        "data": "drums",
        "classes": list(clips.classes),
        "seed": seed,
        "mel": vars(mel),
        "settings": vars(recipe),
    }
    net, facts = leg(
        f"runs/{name}", istft_gan.build_istft_gan(clips, recipe, mel, seed), config, minutes
    )
    ear, test, labels = (
        drum_ear(mel),
        datasets.drums("test", n_per_class=100),
        np.repeat(np.arange(len(clips.classes)), 100),
    )
    judge, heard = metrics.Evaluator(ear, clips, test), metrics.predict_features(ear, test.audio)
    found = judge(specgan.decode_audio(specgan.sample(net, labels, seed=2026), mel), labels)
    scores = {
        "real test (itself)": judge.relative([judge.real_test]),
        "real train": judge.relative(judge.real_train),
        name: found,
    }
    print(metrics.score_table(scores))
    weights.save_pretrained(
        name,
        net,
        config
        | facts
        | {
            "about": f"plays {len(clips.classes)} drums from noise: the spectral head, at 16 kHz",
            "data": "gan_audio_tut.datasets.drums",
            "data_licence": "MIT",
            "licence": "MIT",
            "trained_on": f"{len(clips)} synthesised hits",
            "judged_by": f"a recogniser of drums that learned from other hits ({np.mean(heard['label'].argmax(1) == test.labels):.3f} of the test's right); 100 hits of each drum, no selection",
            "scores": {k: figures(v) for k, v in scores.items()},
            "limits": "half a second; the sounds of this package's drum machine and no others",
        },
    )


def drum_ear(mel, seed=1):
    "A recogniser for judging; it learns from the validation split, which no generator sees."
    clips = datasets.drums("valid", n_per_class=300)
    held = np.arange(len(clips)) % 10 == 0
    ear = metrics.build_classifier(len(clips.classes), config=mel)
    metrics.train_classifier(ear, clips.select(~held), clips.select(held), epochs=20, seed=seed)
    return ear


VOCODERS = {"vocoder-8k": 8000, "vocoder-16k": 16000}
# steps of reconstruction only, and against discriminators: what the shipped one of 8 kHz had
VOCODER_STEPS = 28400, 25000
# of what ships; at 16 kHz 0.5 smoothed noise (a log-magnitude std of 3.8 dB)
MAGNITUDE_WEIGHTS = {8000: 0.5, 16000: 0.35}
# sounds that found room on the way to another machine, in 12 bits
VOCODER_SOUNDS = {8000: 4350, 16000: 2400}
VOCODER_RECIPE = vocoder_training.VocoderConfig(n_iter=8, batch_size=32)


def vocoder_data(sr, path=None):
    """Training data of a shipped vocoder: (n, samples).

    With `path` it is kept in a file for tools/vocoder_on_jax.py.
    """
    sounds = vocoder_benchmark.with_real_speech(sr)[: VOCODER_SOUNDS[sr]]
    if path:
        config = vocoder_benchmark.CONFIGS[sr]
        # as `noise_excitation` draws it here
        noise_table = keras.random.normal((2, 512, config.n_fft // 2 + 1), seed=7)
        peaks = np.maximum(np.abs(sounds).max(1, keepdims=True), 1e-9)
        settings = {"mel": vars(config), "recipe": vars(VOCODER_RECIPE)}
        with audio_io.atomic_write(path) as part, open(part, "wb") as f:
            np.savez(
                f,
                sounds=np.round(sounds / peaks * 0.9 * 2048).astype(np.int16),
                noise_table=np.asarray(noise_table),
                settings=json.dumps(settings),
            )
    return sounds


def trained_vocoder(name, minutes, seed=0):
    "Train in two stages, reconstruction only and against discriminators, and ship the result."
    config = vocoder_benchmark.CONFIGS[VOCODERS[name]]
    sounds, start, done = vocoder_data(config.sr), None, []
    second = replace(VOCODER_RECIPE, g_lr=VOCODER_RECIPE.g_lr / 2, decay_steps=VOCODER_STEPS[1])
    stages = {"reconstruction-only": replace(VOCODER_RECIPE, adversarial=0), "run": second}
    for (stage, recipe), steps in zip(stages.items(), VOCODER_STEPS, strict=True):
        start, facts = leg(
            f"runs/{name}/{stage}",
            vocoder_training.build_vocoder_gan(sounds, config, recipe, seed, start),
            {"seed": seed, "mel": vars(config), "settings": vars(recipe)},
            minutes,
            steps,
        )
        if facts["steps"] < steps:
            return print(f"{name}: {facts['steps']} of {steps} steps ({stage}); run it again")
        done.append(facts)
    first = {k: done[0][k] for k in ("steps", "cpu_s")}
    more = {"seed": seed, "settings": vars(second), "reconstruction_only_stage": first}
    ship_vocoder(name, start, done[1] | more)


def computed_vocoder(name, path):
    "Ship what tools/vocoder_on_jax.py has found."
    network = vocoder.build_vocoder(
        vocoder_benchmark.CONFIGS[VOCODERS[name]],
        VOCODER_RECIPE.dim,
        VOCODER_RECIPE.blocks,
        n_iter=VOCODER_RECIPE.n_iter,
        learned_magnitude=VOCODER_RECIPE.learned_magnitude,
    )
    with np.load(path) as found:
        facts = json.loads(str(found["facts"]))
        network.set_weights([found[f"arr_{k}"] for k in range(len(network.weights))])
    ship_vocoder(name, network, facts)


def ship_vocoder(name, network, facts):
    "Evaluate a vocoder and put it among the shipped ones."
    config, head = vocoder_benchmark.CONFIGS[VOCODERS[name]], network.layers[-1]
    head.magnitude_weight = MAGNITUDE_WEIGHTS[config.sr]
    card = {
        "about": f"mel spectrogram to waveform at {config.sr / 1000:g} kHz, in one pass",
        "mel": vars(config),
        "n_iter": head.n_iter,
        "magnitude_weight": head.magnitude_weight,
        "data": "FSDD (three speakers), " + VOICES_LEARNED,
        "data_licence": "CC BY-SA 4.0, " + LICENCES,
        "licence": "CC BY-SA 4.0",
        "trained_on": f"{VOCODER_SOUNDS[config.sr]} segments: sequences of words by george, "
        "jackson and lucas, the restorers' training data, 100 minutes of synthetic voices, noise",
        "judged_by": "real recordings of five speakers outside its training data, beside "
        "librosa's Griffin-Lim, 60 iterations, and Griffin-Lim with mel consistency, 60 iterations",
        "scores": vocoder_scores(network, config),
        "limits": "single voices; music and several speakers at once are outside its training "
        "data. Ablation runs of an equal, smaller budget: benchmarks/vocoder-*.json",
    }
    weights.save_pretrained(name, network, facts | card)


def vocoder_scores(network, config):
    """Scores on `speech16k`, whose five speakers are in no training data, and measures of noise.

    Beside the network both baselines: librosa's Griffin-Lim, and Griffin-Lim with mel consistency.
    """
    methods = {
        "network": partial(network, training=False),
        "librosa, Griffin-Lim": partial(
            vocoder_benchmark.librosa_vocoder, config=config, n_iter=60
        ),
        "Griffin-Lim with mel consistency": partial(mel_to_audio, config=config, n_iter=60),
    }
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))
    sounds, scores = vocoder_benchmark.speech(config.sr, files), {}
    for name, method in methods.items():
        found = vocoder_benchmark.mean_scores(method, sounds, config)
        found = {metric: mean for metric, (mean, _) in found.items()}
        found |= vocoder_benchmark.noise_measures(method, config)
        scores[name] = {metric: round(float(v), 3) for metric, v in found.items()}
    return scores


# of the fine-tuning: benchmarks/restoration.py interpolation
FINE_TUNING_SHARE = 0.75
EARLIER_FACTS = ("seed", "settings", "steps", "cpu_s", "device_s", "computed", "trained_on")


def trained_restorer(name, minutes, seed=0, further=False):
    """Stage by stage, each from where the last one ended; what ships lies between the last two.

    With `further` only the last stage, from the weights that ship.
    """
    size, configs = restoration_data.RESTORERS[name]
    speech, noises, bank = restoration_data.load_training_data(size["sr"], f"runs/{name}", seed)
    nets, stages = [None], []
    if further:
        nets, card = [weights.load_model(name)], weights.model_card(name)
        if "before" in card or len(configs) == 1:
            raise audio.InputError(f"{name}: has had its last stage; leave --further out")
        stages.append({k: card[k] for k in EARLIER_FACTS if k in card})
    for k in range(len(configs) - 1 if further else 0, len(configs)):
        config = configs[k]
        state = restoration_training.build_restoration_gan(
            speech,
            noises,
            bank,
            size["sr"],
            config=config,
            seed=seed + k,
            start=nets[-1],
            n_fft=size["n_fft"],
            hop_length=size["hop_length"],
        )
        settings = {"seed": seed + k, **size, "settings": vars(config)}
        net, facts = leg(f"runs/{name}/stage-{k}", state, settings, minutes, config.decay_steps)
        stages.append({"seed": seed + k, "settings": vars(config)} | facts)
        if facts["steps"] < config.decay_steps:
            done = f"{facts['steps']} of {config.decay_steps} steps of stage {k}"
            return print(f"{name}: {done}; run it again to go on")
        nets.append(net)
    if len(stages) > 1:
        net = restoration_training.interpolate_weights(*nets[-2:], FINE_TUNING_SHARE)
    ship_restorer(name, net, stages, len(speech), len(noises))


def computed_restorer(name, path):
    "Ship the weights that tools/restorer_on_jax.py computed."
    size, configs = restoration_data.RESTORERS[name]
    net = restoration_net.restoration_unet(n_fft=size["n_fft"], hop_length=size["hop_length"])
    speech, noises, _ = restoration_data.load_training_data(size["sr"], f"runs/{name}")
    with np.load(path) as arrays:
        facts = json.loads(str(arrays["facts"]))
        net.set_weights([arrays[f"arr_{k}"] for k in range(len(net.weights))])
    stages = [{"settings": vars(configs[0])} | facts]
    ship_restorer(name, net, stages, len(speech), len(noises))


def ship_restorer(name, net, stages, n_sentences, n_noises):
    """Evaluate a restorer and put it among the shipped ones.

    `stages` are the settings, seed, steps, what they cost, and the curve of each.
    """
    size = restoration_data.RESTORERS[name][0]
    facts = dict(stages[-1])
    trained_on = f"{n_sentences} sentences of two seconds, {n_noises} noises"
    if stages[1:]:
        facts["before"] = [{k: v for k, v in row.items() if k != "curve"} for row in stages[:-1]]
        trained_on += f"; {FINE_TUNING_SHARE:.0%} of the way from the first stage's weights "
        trained_on += "to the second's"
    data, data_licence = VOICES_LEARNED + ", ESC-10 (folds 1 and 2)", LICENCES
    if size["sr"] == 8000:
        data = "FSDD (three speakers), " + data
        data_licence = "CC BY-SA 4.0, " + data_licence
    rate = f"{size['sr'] / 1000:g} kHz"
    card = size | facts
    card |= {
        "about": f"restores speech at {rate}: noise, clipped peaks, missing bands, dropouts",
        "licence": "CC BY-SA 4.0",
        "data": data,
        "data_licence": data_licence,
        "trained_on": trained_on,
        "scores": denoised(net, size["sr"]),
        "judged_by": "validation speakers and noises (choices were made on them), "
        "at 0, 5 and 10 dB",
        "limits": "one voice at a time; music counts as noise",
    }
    weights.save_pretrained(name, net, card)


def denoised(net, sr, seconds=3.0):
    """Mean scores over ESC-10's fold 3 at three SNRs, without and with the network.

    The speech is that of FSDD's `nicolas` (8 kHz) or of two recordings of `speech16k`.
    """
    rng, n, noises = np.random.default_rng(5), int(seconds * sr), datasets.esc10("valid", sr=sr)
    if sr == 8000:
        clips = datasets.fsdd("train+valid+test")
        is_nicolas = clips.speakers == clips.speaker_names.index("nicolas")
        sounds = [np.trim_zeros(y, "b") for y in clips.audio[is_nicolas]]
    else:
        files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))[:2]
        sounds = vocoder_benchmark.speech(sr, files)
    rows = {"input": [], "restored": []}
    for recording in noises.audio[:: max(1, len(noises) // 20)]:
        for snr in (0.0, 5.0, 10.0):
            clean = restoration_data.concatenate_recordings(sounds, n, sr, rng)
            noise = recording
            if audio.rms(noise) <= 1e-4:
                noise = degrade.coloured_noise(len(noise), sr, rng)
            noise = degrade.random_crop([noise], n, rng)
            noisy, _ = degrade.add_noise(clean, noise, snr_db=snr)
            restored = denoise_once(net, noisy)
            rows["input"].append(fidelity.score(clean, noisy, sr))
            rows["restored"].append(fidelity.score(clean, restored, sr))
    metrics = [k for k in ("si_sdr", "pesq", "stoi", "estoi", "lsd") if k in rows["input"][0]]
    return {
        name: {k: round(float(np.nanmean([score[k] for score in scores])), 3) for k in metrics}
        for name, scores in rows.items()
    }


def denoise_once(net, noisy):
    "One call of a restoration network on a whole sound (samples,)."
    gain = 0.1 / audio.rms(noisy)
    degraded = (gain * noisy[None]).astype(np.float32)
    out = net([degraded, degraded, np.zeros_like(degraded), np.float32([[1, 1]])])
    return np.asarray(out)[0] / gain


NAMES = {
    "classifier-8k": recogniser,
    **dict.fromkeys(VOICES, voice),
    "drums-16k": drums,
    **dict.fromkeys(VOCODERS, trained_vocoder),
    **dict.fromkeys(restoration_data.RESTORERS, trained_restorer),
}
COMPUTED = dict.fromkeys(VOCODERS, computed_vocoder) | dict.fromkeys(
    restoration_data.RESTORERS, computed_restorer
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument(
        "--weights",
        type=Path,
        help="judge and ship these of a restorer or vocoder, by tools/restorer_on_jax.py or vocoder_on_jax.py",
    )
    parser.add_argument(
        "--lessons",
        type=Path,
        help="of a vocoder: write what it would learn from into this .npz, for tools/vocoder_on_jax.py",
    )
    parser.add_argument(
        "--further",
        action="store_true",
        help="of a restorer only the last stage, from the weights that ship",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10,
        help="of this leg, for all but the recogniser; 0 judges and ships what is there",
    )
    args = parser.parse_args()
    if args.minutes < 0:
        parser.error("--minutes: give 0 or more")
    if args.further and args.name not in restoration_data.RESTORERS:
        parser.error("--further: is for restorers only")
    if args.lessons and args.name not in VOCODERS:
        parser.error("--lessons: is for vocoders only")
    if args.weights and args.name not in COMPUTED:
        parser.error(f"--weights: is for {', '.join(COMPUTED)} only")
    try:
        if args.lessons:
            vocoder_data(VOCODERS[args.name], args.lessons)
        elif args.weights:
            COMPUTED[args.name](args.name, args.weights)
        else:
            NAMES[args.name](args.name, args.minutes, **{"further": True} if args.further else {})
    except audio.InputError as e:
        sys.exit(str(e))
