"""Train, evaluate and save the networks that ship with the package, and their cards.

    export GAN_AUDIO_TUT_DATA_DIR=...
    python tools/train_pretrained.py voice-8k --minutes 35
    python tools/train_pretrained.py voice-8k --minutes 0               # evaluate and save again
    python tools/train_pretrained.py vocoder-8k --export-data data.npz  # see vocoder_on_jax.py
    python tools/train_pretrained.py vocoder-8k --weights weights.npz
    python tools/train_pretrained.py restore-8k --further

classifier-8k   evaluation classifier of digits and speakers; trained on FSDD's recordings 10 to 49
voice-8k        iSTFT GAN that generates digits; trained on FSDD's official training set
specgan-8k      SpecGAN that generates log-mel spectrograms of digits; trained on the same set
drums-16k       iSTFT GAN that generates drums; trained on hits that the package synthesises
vocoder-8k, vocoder-16k
                from mel spectrograms to waveforms; trained on words of three FSDD speakers, the
                synthetic voices of `tools/make_voices.py runs/voices --minutes 100`, the
                restorers' speech, and noise; the shipped weights were computed elsewhere, by
                tools/vocoder_on_jax.py
restore-8k, restore-16k
                from degraded to clean speech; trained on the data of tools/restoration_data.py;
                the first stage of restore-16k was computed elsewhere, by tools/restorer_on_jax.py

All runs but the classifier's are kept under runs/NAME. A run that was stopped, or is started again,
continues from there for `--minutes` more. The shipped networks had 35 minutes of one core (voice-8k
and specgan-8k), 25 minutes (drums-16k), or the numbers of steps below (vocoders and restorers).
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
import restoration_data
import vocoder as vocoder_benchmark

# --- data and licences, for the cards

FSDD = {
    "data": "Free Spoken Digit Dataset (Jakobovski et al.)",
    "data_licence": "CC BY-SA 4.0",
    "licence": "CC BY-SA 4.0",
}
DRUMS = {
    "data": "gan_audio_tut.datasets.drums",
    "data_licence": "MIT",
    "licence": "MIT",
}
SPEECH_DATA = (
    "telephone prompts, readings and letters from Debian's free packages "
    "(tools/fetch_speech.py names authors and licences), espeak-ng voices"
)
SPEECH_LICENCES = "CC BY-SA 3.0, CC BY 3.0, BSD, GPL 2 or later"


# --- runs


def train_stage(folder, state, config, minutes, steps=None):
    """Train the run in `folder` for some minutes, or until it has had so many steps.

    A run that is there already is continued; with 0 minutes it is taken as it is. Returns the
    averaged generator, and for the card its steps, CPU seconds and training curve.
    """
    if not minutes and not Path(folder, "config.json").exists():
        raise audio.InputError(f"{folder}: nothing to evaluate yet; train it with --minutes")
    run = runs.open_run(folder, config, resume=True)
    checkpoints = runs.CheckpointCallback(run, state, checkpoint_every=500)
    if minutes:
        training.fit(state, steps, 60 * minutes, callbacks=[checkpoints])
    checkpoints.finish(state)
    timing = runs.read_csv(run / "timing.csv")
    return state.ema_generator, {
        "steps": int(state.step),
        "cpu_s": round(timing[-1]["cpu_s"]),
        "curve": thin_curve(runs.read_csv(run / "metrics.csv")),
    }


def thin_curve(rows, n=40):
    "Means over `n` parts of a training curve; a run without a discriminator has `g_loss` alone."
    names = ("d_loss", "g_loss", "real_logit", "fake_logit", "d_ranking_accuracy")
    points = []
    for part in np.array_split(rows, min(n, len(rows))):
        point = {"step": part[-1]["step"]}
        for name in names:
            values = [row[name] for row in part if name in row]
            if values:
                point[name] = round(float(np.mean(values)), 4)
        points.append(point)
    return points


# --- the evaluation classifier


def train_evaluation_classifier(name, _, seed=1):
    "Train and save the classifier of digits and speakers; it takes no minutes, but all its epochs."
    train, valid, test = (datasets.fsdd(split) for split in ("train", "valid", "test"))
    keras.utils.set_random_seed(seed)
    classifier = metrics.build_classifier(len(train.classes), speakers=len(train.speaker_names))
    start = time.process_time()
    history = metrics.train_classifier(classifier, train, valid, seed=seed, verbose=2)
    cpu_s = time.process_time() - start

    outputs = metrics.predict_features(classifier, test.audio)
    accuracy = {
        "digit": np.mean(outputs["label"].argmax(1) == test.labels),
        "speaker": np.mean(outputs["speaker"].argmax(1) == test.speakers),
    }
    card = FSDD | {
        "about": "evaluation classifier: spoken digits and five speakers; its features measure "
        "distances between clips",
        "trained_on": f"{len(train)} recordings, index 10 and up",
        "sr": train.sr,
        "samples": train.audio.shape[1],
        "classes": list(train.classes),
        "speakers": list(train.speaker_names),
        "epochs": len(history.epoch),
        "cpu_s": round(cpu_s),
        "seed": seed,
        "scores": {"official test": {k: round(float(v), 4) for k, v in accuracy.items()}},
        "limits": "English digits by five speakers; other speakers and rooms are recognised less "
        "well",
    }
    weights.save_pretrained(name, classifier, card)


# --- generators

DIGIT_GENERATORS = {
    "voice-8k": (istft_gan.build_istft_gan, istft_gan.RECIPES["istft"]),
    "specgan-8k": (specgan.build_specgan, specgan.RECIPES["specgan"]),
}
ABOUT_DIGITS = {
    "voice-8k": {
        "about": "says the digits 0 to 9 from noise: iSTFT GAN; five speakers at 8 kHz",
    },
    "specgan-8k": {
        "about": "generates the digits 0 to 9 from noise as normalised log-mel spectrograms, "
        "for a vocoder: SpecGAN; five speakers at 8 kHz",
        "vocoder": "vocoder-8k",
    },
}
CLIPS_PER_CLASS = 100  # that an evaluation generates
SAMPLE_SEED = 2026


def train_digit_generator(name, minutes, seed=0):
    "Train one of the `DIGIT_GENERATORS`, evaluate it and save it."
    clips = datasets.fsdd("train+valid")
    build, recipe = DIGIT_GENERATORS[name]
    mel = specgan.infer_mel_config(clips)
    config = run_config("fsdd", clips, seed, mel, recipe)
    state = build(clips, recipe, mel, seed)
    generator, facts = train_stage(f"runs/{name}", state, config, minutes)

    classifier = weights.load_model("classifier-8k")
    evaluator = metrics.Evaluator(classifier, clips, datasets.fsdd("test"))
    scores, modulation = evaluate_digits(name, generator, mel, evaluator, datasets.fsdd("valid"))
    card = config | facts | FSDD | ABOUT_DIGITS[name]
    card |= {
        "trained_on": f"{len(clips)} recordings, the official training set",
        "f0_modulation": modulation,
        "evaluated_by": f"classifier-8k, {CLIPS_PER_CLASS * len(clips.classes)} clips, "
        "no selection, official test; Fréchet distance on its features",
        "scores": {row: label_columns(values) for row, values in scores.items()},
        "limits": "single English digits of about a second, as on a telephone",
    }
    weights.save_pretrained(name, generator, card)


def train_drum_generator(name, minutes, seed=0):
    "Train the generator of drums, evaluate it and save it."
    clips = datasets.drums("train", n_per_class=500)
    recipe = istft_gan.RECIPES["istft"]
    mel = specgan.infer_mel_config(clips)
    config = run_config("drums", clips, seed, mel, recipe)
    state = istft_gan.build_istft_gan(clips, recipe, mel, seed)
    generator, facts = train_stage(f"runs/{name}", state, config, minutes)

    classifier, test = train_drum_classifier(mel), datasets.drums("test", n_per_class=100)
    predicted = metrics.predict_features(classifier, test.audio)["label"].argmax(1)
    accuracy = np.mean(predicted == test.labels)
    evaluator = metrics.Evaluator(classifier, clips, test)
    generated, labels = generate(generator, len(clips.classes))
    scores = evaluate_real(evaluator)
    scores[name] = evaluator(specgan.decode_audio(generated, mel), labels)
    print(metrics.score_table(scores))

    card = config | facts | DRUMS
    card |= {
        "about": f"generates {len(clips.classes)} drums from noise: iSTFT GAN, 16 kHz",
        "trained_on": f"{len(clips)} synthesised hits",
        "evaluated_by": "a drum classifier trained on other hits "
        f"(accuracy {accuracy:.3f} on the test); {CLIPS_PER_CLASS} hits of each drum, no selection",
        "scores": {row: label_columns(values) for row, values in scores.items()},
        "limits": "half a second; the sounds of this package's drum machine and no others",
    }
    weights.save_pretrained(name, generator, card)


def train_drum_classifier(mel, seed=1):
    "A classifier for evaluation, trained on the validation split, which no generator sees."
    clips = datasets.drums("valid", n_per_class=300)
    held_out = np.arange(len(clips)) % 10 == 0
    train, valid = clips.select(~held_out), clips.select(held_out)
    classifier = metrics.build_classifier(len(clips.classes), config=mel)
    metrics.train_classifier(classifier, train, valid, epochs=20, seed=seed)
    return classifier


def run_config(data, clips, seed, mel, recipe):
    "Everything that decides the result of a run, for its config.json and its card."
    return {
        "data": data,
        "classes": list(clips.classes),
        "seed": seed,
        "mel": vars(mel),
        "settings": vars(recipe),
    }


def generate(generator, num_classes):
    "Waveforms or log-mel spectrograms, equally many of every class, and their labels."
    labels = np.repeat(np.arange(num_classes), CLIPS_PER_CLASS)
    return specgan.sample(generator, labels, seed=SAMPLE_SEED), labels


def evaluate_digits(name, generator, mel, evaluator, held_out):
    """Scores and F0-rate envelope modulation of generated digits, beside those of real ones.

    Spectrograms are evaluated twice, decoded by the vocoder and by Griffin-Lim. The classifier has
    not been trained on the clips `held_out`, but the generator has.
    """
    generated, labels = generate(generator, len(held_out.classes))
    vocoders = {name: None}
    if generated.ndim == 3:
        vocoders = {
            f"{name} by vocoder-8k": weights.load_model("vocoder-8k"),
            f"{name} by Griffin-Lim": None,
        }
    sounds = {
        row: specgan.decode_audio(generated, mel, vocoder=network)
        for row, network in vocoders.items()
    }
    generated_scores = {row: evaluator(y, labels) for row, y in sounds.items()}

    held_out_scores = evaluator(held_out.audio, held_out.labels)
    # the generator's training data: the nearest training clip is the clip itself
    del held_out_scores["nearest"]
    scores = evaluate_real(evaluator) | {"real, held out": held_out_scores} | generated_scores

    sounds["real, held out"] = held_out.audio
    modulation = {
        row: round(istft_gan.f0_envelope_modulation(y, mel.sr), 3) for row, y in sounds.items()
    }
    print(metrics.score_table(scores))
    for row, values in generated_scores.items():
        print(f"{row}, shares of the speakers: {np.round(values['speaker_coverage'], 3)}")
    print(f"F0-rate envelope modulation: {modulation}")
    return scores, modulation


def evaluate_real(evaluator):
    "Scores of real clips, the reference for those of generated ones."
    return {
        "real test (itself)": evaluator.relative([evaluator.real_test]),
        "real train": evaluator.relative(evaluator.real_train),
    }


def label_columns(row):
    "A row of scores by the names of its columns; of the speaker shares the smallest."
    return {
        column: round(float(np.min(row[key])), 3)
        for key, column in metrics.COLUMNS.items()
        if key in row
    }


# --- vocoders

VOCODERS = {"vocoder-8k": 8000, "vocoder-16k": 16000}
# of the reconstruction-only and of the adversarial stage, as the shipped network of 8 kHz had them
VOCODER_STEPS = (28400, 25000)
# of the shipped networks; at 16 kHz 0.5 smoothed noise (a log-magnitude std of 3.8 dB)
MAGNITUDE_WEIGHTS = {8000: 0.5, 16000: 0.35}
# as many sounds as could be copied to another machine, with 12 bits a sample
VOCODER_SOUNDS = {8000: 4350, 16000: 2400}
VOCODER_RECIPE = vocoder_training.VocoderConfig(n_iter=8, batch_size=32)
BASELINE = "Griffin-Lim with mel consistency"


def vocoder_data(sr):
    "Training data of a shipped vocoder: (n, samples)."
    return vocoder_benchmark.with_real_speech(sr)[: VOCODER_SOUNDS[sr]]


def export_vocoder_data(name, path):
    "Write a vocoder's training data and settings to a file, for tools/vocoder_on_jax.py."
    config = vocoder_benchmark.CONFIGS[VOCODERS[name]]
    sounds = vocoder_data(config.sr)
    peaks = np.maximum(np.abs(sounds).max(1, keepdims=True), 1e-9)
    # as `noise_excitation` draws it with TensorFlow; JAX would draw other numbers
    noise_table = keras.random.normal((2, 512, config.n_fft // 2 + 1), seed=7)
    settings = {"mel": vars(config), "recipe": vars(VOCODER_RECIPE)}
    with audio_io.atomic_write(path) as part, open(part, "wb") as f:
        np.savez(
            f,
            sounds=np.round(sounds / peaks * 0.9 * 2048).astype(np.int16),
            noise_table=np.asarray(noise_table),
            settings=json.dumps(settings),
        )


def train_vocoder(name, minutes, seed=0):
    "Train in two stages, on reconstruction alone and against discriminators; evaluate and save."
    config = vocoder_benchmark.CONFIGS[VOCODERS[name]]
    sounds = vocoder_data(config.sr)
    adversarial_recipe = replace(
        VOCODER_RECIPE, g_lr=VOCODER_RECIPE.g_lr / 2, decay_steps=VOCODER_STEPS[1]
    )
    stages = {
        "reconstruction-only": replace(VOCODER_RECIPE, adversarial=0),
        "run": adversarial_recipe,
    }
    network, facts_of_stages = None, []
    for (stage, recipe), steps in zip(stages.items(), VOCODER_STEPS, strict=True):
        state = vocoder_training.build_vocoder_gan(sounds, config, recipe, seed, network)
        settings = {"seed": seed, "mel": vars(config), "settings": vars(recipe)}
        network, facts = train_stage(f"runs/{name}/{stage}", state, settings, minutes, steps)
        if facts["steps"] < steps:
            print(f"{name}: {facts['steps']} of {steps} steps ({stage}); run it again")
            return
        facts_of_stages.append(facts)

    first, second = facts_of_stages
    facts = {"seed": seed, "settings": vars(adversarial_recipe)} | second
    facts["reconstruction_only_stage"] = {k: first[k] for k in ("steps", "cpu_s")}
    save_vocoder(name, network, facts)


def save_computed_vocoder(name, path):
    "Evaluate and save the weights that tools/vocoder_on_jax.py computed."
    network = vocoder.build_vocoder(
        vocoder_benchmark.CONFIGS[VOCODERS[name]],
        VOCODER_RECIPE.dim,
        VOCODER_RECIPE.blocks,
        n_iter=VOCODER_RECIPE.n_iter,
        learned_magnitude=VOCODER_RECIPE.learned_magnitude,
    )
    save_vocoder(name, network, load_computed(network, path))


def load_computed(network, path):
    "Set the weights of a network to those in a file, which also holds facts for the card."
    with np.load(path) as arrays:
        network.set_weights([arrays[f"arr_{k}"] for k in range(len(network.weights))])
        return json.loads(str(arrays["facts"]))


def save_vocoder(name, network, facts):
    """Evaluate a vocoder and put it among the shipped networks.

    `facts` are its settings, seed and steps, what they cost, and the curve.
    """
    config, head = vocoder_benchmark.CONFIGS[VOCODERS[name]], network.layers[-1]
    head.magnitude_weight = MAGNITUDE_WEIGHTS[config.sr]
    scores = vocoder_scores(network, config)
    card = facts | {
        "about": f"mel spectrogram to waveform at {config.sr / 1000:g} kHz, in one pass",
        "mel": vars(config),
        "n_iter": head.n_iter,
        "magnitude_weight": head.magnitude_weight,
        "data": f"FSDD (three speakers), {SPEECH_DATA}",
        "data_licence": f"CC BY-SA 4.0, {SPEECH_LICENCES}",
        "licence": "CC BY-SA 4.0",
        "trained_on": f"{VOCODER_SOUNDS[config.sr]} segments: word sequences by george, jackson "
        "and lucas, the restorers' speech, 100 minutes of synthetic voices, modulated noise",
        "evaluated_by": "real recordings of five speakers that it was not trained on, beside "
        "librosa's mel inversion and Griffin-Lim and beside Griffin-Lim with mel consistency "
        "(chapter 03), both with 60 iterations; LSD and STFT distance were training losses",
        "scores": scores,
        "limits": vocoder_limits(scores),
    }
    weights.save_pretrained(name, network, card)


def vocoder_limits(scores):
    "What a user should know; the baseline is named where it is ahead of the network."
    network, baseline = scores["network"], scores[BASELINE]
    ahead = [
        metric.upper()
        for metric in ("pesq", "stoi", "estoi")  # those that were no training losses
        if metric in network and baseline[metric] > network[metric]
    ]
    comparison = ""
    if ahead:
        comparison = f"{BASELINE} (chapter 03) is ahead of it in {join_names(ahead)}; "
    return (
        "single speakers; music and several speakers at once are outside its training data. "
        f"{comparison}benchmarks/vocoder-*.json has models of an equal, smaller budget, "
        "on held-out speakers"
    )


def join_names(names):
    "a, b and c."
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def vocoder_scores(network, config):
    """Scores on `speech16k`, whose five speakers are in no training data, and measures of noise.

    Beside the network both baselines: librosa's Griffin-Lim, and Griffin-Lim with mel consistency.
    """
    methods = {
        "network": partial(network, training=False),
        "librosa, Griffin-Lim": partial(
            vocoder_benchmark.librosa_vocoder, config=config, n_iter=60
        ),
        BASELINE: partial(mel_to_audio, config=config, n_iter=60),
    }
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))
    sounds, scores = vocoder_benchmark.speech(config.sr, files), {}
    for name, method in methods.items():
        intervals = vocoder_benchmark.mean_scores(method, sounds, config)
        row = {metric: mean for metric, (mean, _) in intervals.items()}
        row |= vocoder_benchmark.noise_measures(method, config)
        scores[name] = {metric: round(float(value), 3) for metric, value in row.items()}
    return scores


# --- restorers

# how far the shipped weights lie from those before the last stage to those after it; chosen by
# `benchmarks/restoration.py interpolation`
FINE_TUNING_SHARE = 0.75
# what the card keeps of an earlier stage
STAGE_FACTS = ("seed", "settings", "steps", "cpu_s", "device_s", "computed", "trained_on")


def train_restorer(name, minutes, seed=0, further=False):
    """Train stage by stage, each from the weights of the one before; evaluate and save.

    The shipped weights are interpolated between those of the last two stages. With `further` only
    the last stage is trained, from the shipped weights.
    """
    size, configs = restoration_data.RESTORERS[name]
    data = restoration_data.load_training_data(size["sr"], f"runs/{name}", seed)
    networks, stages, first = [None], [], 0
    if further:
        stages.append(shipped_stage(name))
        networks, first = [weights.load_model(name)], len(configs) - 1
    for k in range(first, len(configs)):
        start = networks[-1]
        network, facts = train_restorer_stage(name, k, data, start, minutes, seed + k)
        if facts["steps"] < configs[k].decay_steps:
            progress = f"{facts['steps']} of {configs[k].decay_steps} steps of stage {k}"
            print(f"{name}: {progress}; run it again to go on")
            return
        networks.append(network)
        stages.append(facts)

    network = networks[-1]
    if len(stages) > 1:
        network = restoration_training.interpolate_weights(*networks[-2:], FINE_TUNING_SHARE)
    save_restorer(name, network, stages, data)


def shipped_stage(name):
    "What the card keeps of the shipped network's stage, before the last one is trained."
    card = weights.model_card(name)
    if "earlier_stages" in card or len(restoration_data.RESTORERS[name][1]) == 1:
        raise audio.InputError(f"{name}: has had its last stage; leave --further out")
    return {k: card[k] for k in STAGE_FACTS if k in card}


def train_restorer_stage(name, k, data, start, minutes, seed):
    "Stage `k` of a restorer, from the network `start`: the network, and facts for the card."
    size, configs = restoration_data.RESTORERS[name]
    config = configs[k]
    state = restoration_training.build_restoration_gan(
        *data,
        size["sr"],
        config=config,
        seed=seed,
        start=start,
        n_fft=size["n_fft"],
        hop_length=size["hop_length"],
    )
    settings = {"seed": seed, "settings": vars(config)}
    network, facts = train_stage(
        f"runs/{name}/stage-{k}", state, settings | size, minutes, config.decay_steps
    )
    return network, settings | facts


def save_computed_restorer(name, path):
    "Evaluate and save the weights that tools/restorer_on_jax.py computed."
    size, configs = restoration_data.RESTORERS[name]
    network = restoration_net.restoration_unet(n_fft=size["n_fft"], hop_length=size["hop_length"])
    facts = load_computed(network, path)
    data = restoration_data.load_training_data(size["sr"], f"runs/{name}")
    save_restorer(name, network, [{"settings": vars(configs[0])} | facts], data)


def save_restorer(name, network, stages, data):
    """Evaluate a restorer and put it among the shipped networks.

    `stages` are the settings, seed and steps of each stage, what they cost, and the curve.
    """
    size = restoration_data.RESTORERS[name][0]
    speech, noises, _ = data
    trained_on = f"{len(speech)} sentences of two seconds, {len(noises)} noises"
    card = size | stages[-1]
    if len(stages) > 1:
        card["earlier_stages"] = [earlier_stage(stage, trained_on) for stage in stages[:-1]]
        trained_on += (
            f"; weights interpolated, {FINE_TUNING_SHARE:.0%} of the way from the end of the first "
            "stage to the end of the fine-tuning stage"
        )
    card |= restorer_data(size["sr"])
    card |= {
        "about": f"restores speech at {size['sr'] / 1000:g} kHz: noise, clipping, "
        "missing bandwidth, dropouts",
        "trained_on": trained_on,
        "scores": denoising_scores(network, size["sr"]),
        "evaluated_by": "speakers and noises that it was not trained on (choices were made on "
        "them, so these are validation figures), at 0, 5 and 10 dB; SI-SDR and a form of ESTOI "
        "were training losses",
        "limits": "one speaker at a time; music counts as noise",
    }
    weights.save_pretrained(name, network, card)


def earlier_stage(facts, trained_on):
    "What the card keeps of a stage before the last."
    kept = {k: facts[k] for k in STAGE_FACTS if k in facts}
    return kept if "trained_on" in kept else kept | {"trained_on": trained_on}


def restorer_data(sr):
    "Data and licences of a restorer; FSDD has no recordings above 8 kHz."
    data = f"{SPEECH_DATA}, ESC-10 (folds 1 and 2)"
    data_licence = SPEECH_LICENCES
    if sr == 8000:
        data = f"FSDD (three speakers), {data}"
        data_licence = f"CC BY-SA 4.0, {data_licence}"
    return {"licence": "CC BY-SA 4.0", "data": data, "data_licence": data_licence}


def denoising_scores(network, sr, seconds=3.0):
    """Mean scores over ESC-10's fold 3 at three SNRs, without and with the network.

    The speech is that of FSDD's `nicolas` (8 kHz) or of two recordings of `speech16k`.
    """
    rng, samples = np.random.default_rng(5), int(seconds * sr)
    sounds = validation_speech(sr)
    noises = datasets.esc10("valid", sr=sr).audio
    rows = {"input": [], "restored": []}
    for noise in noises[:: max(1, len(noises) // 20)]:
        for snr_db in (0.0, 5.0, 10.0):
            clean = restoration_data.concatenate_recordings(sounds, samples, sr, rng)
            noisy = add_noise(clean, noise, snr_db, sr, rng)
            rows["input"].append(fidelity.score(clean, noisy, sr))
            rows["restored"].append(fidelity.score(clean, denoise_once(network, noisy), sr))
    return {name: mean_scores(scores) for name, scores in rows.items()}


def validation_speech(sr):
    "Recordings of speakers outside the training data, on which choices were made."
    if sr == 8000:
        clips = vocoder_benchmark.spoken_by(vocoder_benchmark.VALID)
        return [np.trim_zeros(y, "b") for y in clips.audio]
    files = sorted((datasets.data_dir() / "speech16k").glob("*.flac"))[:2]
    return vocoder_benchmark.speech(sr, files)


def add_noise(clean, noise, snr_db, sr, rng):
    "A crop of the noise added; coloured noise in place of a silent recording."
    if audio.rms(noise) <= 1e-4:
        noise = degrade.coloured_noise(len(noise), sr, rng)
    noise = degrade.random_crop([noise], len(clean), rng)
    noisy, _ = degrade.add_noise(clean, noise, snr_db=snr_db)
    return noisy


def denoise_once(network, noisy):
    "One call of a restoration network on a whole sound (samples,)."
    gain = 0.1 / audio.rms(noisy)
    degraded = (gain * noisy[None]).astype(np.float32)
    missing = np.zeros_like(degraded)
    task = np.float32([[1, 1]])  # remove noise, at full bandwidth
    restored = network([degraded, degraded, missing, task])
    return np.asarray(restored)[0] / gain


def mean_scores(scores):
    "The mean of every metric that the card names."
    names = [k for k in ("si_sdr", "pesq", "stoi", "estoi", "lsd") if k in scores[0]]
    return {k: round(float(np.nanmean([score[k] for score in scores])), 3) for k in names}


# --- command line

TRAINERS = {
    "classifier-8k": train_evaluation_classifier,
    **dict.fromkeys(DIGIT_GENERATORS, train_digit_generator),
    "drums-16k": train_drum_generator,
    **dict.fromkeys(VOCODERS, train_vocoder),
    **dict.fromkeys(restoration_data.RESTORERS, train_restorer),
}
# for networks whose weights were computed elsewhere
SAVERS = {
    **dict.fromkeys(VOCODERS, save_computed_vocoder),
    **dict.fromkeys(restoration_data.RESTORERS, save_computed_restorer),
}


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=TRAINERS)
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="WEIGHTS.npz",
        help="of a vocoder or restorer: evaluate and save these weights, which "
        "tools/vocoder_on_jax.py or tools/restorer_on_jax.py computed",
    )
    parser.add_argument(
        "--export-data",
        type=Path,
        metavar="DATA.npz",
        help="of a vocoder: only write its training data to this file, for tools/vocoder_on_jax.py",
    )
    parser.add_argument(
        "--further",
        action="store_true",
        help="of a restorer: only train the last stage, from the shipped weights",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10,
        help="of training in each stage, for all but the classifier; "
        "0 evaluates and saves what has been trained",
    )
    args = parser.parse_args()
    if args.minutes < 0:
        parser.error("--minutes: give 0 or more")
    if args.further and args.name not in restoration_data.RESTORERS:
        parser.error("--further: is for restorers only")
    if args.export_data and args.name not in VOCODERS:
        parser.error("--export-data: is for vocoders only")
    if args.weights and args.name not in SAVERS:
        parser.error(f"--weights: is for {', '.join(SAVERS)} only")
    return args


def main():
    args = parse_args()
    if args.export_data:
        export_vocoder_data(args.name, args.export_data)
    elif args.weights:
        SAVERS[args.name](args.name, args.weights)
    elif args.further:
        train_restorer(args.name, args.minutes, further=True)
    else:
        TRAINERS[args.name](args.name, args.minutes)


if __name__ == "__main__":
    try:
        main()
    except audio.InputError as e:
        sys.exit(str(e))
