"""The field's terms: names that were dropped do not come back, in code, notebooks, cards or tables.

Three lists. `DROPPED` are identifiers that may stand nowhere. `EVERYDAY` are words that other
libraries or plain English use too, so they are only refused as names of this package's functions,
classes, parameters and fields. `PROSE` are words of our own for things that have a name.
"""

import ast
import json
import re

import pytest
from conftest import ROOT

DROPPED = """
    d_sigmoid d_tanh set_level from_db to_db replacing picture_strip equal_level mel_picture
    to_picture from_picture picture_to_audio bands_of mel_filters gain_to zero_centred one_centred
    seed_pair told_apart critic_steps d_rate g_rate renumbered load_newest fifths given_up outrun
    vital_signs game_signs sound_signs card_of find_model modules_named in_float32 open_data
    build_recogniser train_recogniser kernel_distance disjoint_sets picture_generator
    picture_discriminator picture_gan from_noise to_sound mel_settings pictures_of with_label
    config_for run_of SpectralHead frame_block spectral_generator frame_discriminator spectral_gan
    pulse_share views_of SpectralRecipe WaveRecipe VocoderRecipe RestorerRecipe MelHead round_trip
    window_listener period_listener vocoder_gan stretch_of in_pieces held_back at_rate ideal_mask
    ar_fill ar_sizes cubic_fill at_least Findings Heard Mended patch_block scale_free spectra_apart
    noises_of restoration_gan HEARINGS noise_in restorer_for restore_tree classes_of words_of
    word_of hit_drums damage_and_mend score_rows save_pictures MelPicture wave_critic score_lines
    stft_terms vocoder_net wave_gan frames_per_second pictures-8k recogniser-8k Illness
    show_strip mel_spectrogram_picture audio_files Recorder RunFiles Adversarial d_terms g_terms
    run_eagerly
""".split()

EVERYDAY = """
    sweep noise describe opened rounded silent form quality waveform picture curves page strip
    saturation frames steps ceiling compiled bands learn judge slope between verdicts total given
    seen view terms job Job State shuffled rate fall claim Damaged whole variety spread nearest
    constant compared shipped ship MUST Clips take voices folder pieces fetch each hear balanced
    figures Judge recogniser disturb grown normalised alike width textbook projection grow fine
    share softened moved together trips lean own breath apart lessons joined stretches hisses hum
    texture pulses listener panel opponents delay narrow coarse squeeze gaps direct room reverberate
    equalised law Damage damage coloured mains Local context align rewrite memory chirps lost holes
    examine limits pauses highest moments tops unlike bank pairs restorer plan repair todo certain
    say VERBS LEFT THERE join told_where known hiss
""".split()

# (module, name): a name that librosa, Keras, NumPy or the paper uses for just this
ALLOWED = {
    ("audio_io", "fetch"),
}

PROSE = re.compile(
    r"\b(copyists?|opponents?|listeners?|told apart|vital signs?|mel pictures?|picture GANs?|"
    r"round trips?|verdicts?|hisses|lessons? for|recognisers? that|spectral head|patients?|wards?|"
    r"illness(?:es)?|breathing|trips|pulse share|hearings)\b",
    re.IGNORECASE,
)

NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
SCRIPTS = sorted(p for d in ("tests", "tools", "benchmarks") for p in (ROOT / d).glob("*.py"))
TABLES = sorted([*(ROOT / "benchmarks").glob("*.json"), *ROOT.glob("gan_audio_tut/assets/*.json")])
MODULES = sorted((ROOT / "gan_audio_tut").glob("[!_]*.py"))
WORD = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, DROPPED)) + r")(?![\w-])")


def text_of(path):
    "All that a reader sees of a file: sources and printed outputs of a notebook, without images."
    if path.suffix != ".ipynb":
        return path.read_text()
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        parts.append("".join(cell["source"]))
        for out in cell.get("outputs", []):
            parts.append("".join(out.get("text", "")))
            parts += [
                "".join(out.get("data", {}).get(k, "")) for k in ("text/plain", "text/markdown")
            ]
    return "\n".join(parts)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SCRIPTS, *TABLES], ids=lambda p: p.name)
def test_dropped_names_do_not_come_back(path):
    if path.name == "test_terms.py":
        return
    found = sorted(set(WORD.findall(text_of(path))))
    assert not found, f"{path.name}: {', '.join(found)}; see CHANGELOG for what they are called now"


def interface(path):
    "Names of functions, classes, their parameters and fields, public ones, with the line."
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node.name
            if isinstance(node, ast.FunctionDef):
                args = node.args
                yield from (a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs])
            else:
                fields = (n for n in node.body if isinstance(n, ast.AnnAssign))
                yield from (n.target.id for n in fields)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_interface_speaks_the_fields_language(path):
    names = {n for n in interface(path) if n in EVERYDAY and (path.stem, n) not in ALLOWED}
    assert not names, f"{path.stem}: {', '.join(sorted(names))}"


@pytest.mark.parametrize("path", [*NOTEBOOKS, ROOT / "README.md"], ids=lambda p: p.name)
def test_prose_uses_the_fields_terms(path):
    found = sorted({m.lower() for m in PROSE.findall(text_of(path))})
    assert not found, f"{path.name}: {', '.join(found)}"


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.name)
def test_cards_and_tables_use_the_fields_terms(path):
    found = sorted({m.lower() for m in PROSE.findall(path.read_text())})
    assert not found, f"{path.name}: {', '.join(found)}"
