"""The field's terms: names that were dropped do not come back.

`LEFT` holds, module by module, what functions, classes, parameters and columns were called in
version 0.1. None of these names may be a public name, parameter or field of its module again. Of
those that are no everyday words (`EVERYDAY`), none may stand anywhere: in code, notebooks and
their outputs, cards or tables. `PROSE` are words of our own for things that have a name.
"""

import ast
import json
import re

import pytest
from conftest import ROOT


def words(text):
    return text.split()


LEFT = {  # module: names of 0.1
    "activations": "d_sigmoid d_tanh saturation slope",
    "audio": "sweep noise to_db from_db set_level below",
    "audio_io": "silent opened describe rounded replacing whole form quality",
    "plots": "waveform picture picture_strip curves equal_level page",
    "explore": "show_strip strip",
    "mel": "mel_picture to_picture from_picture picture_to_audio bands_of mel_filters gain_to "
    "steps "
    "ceiling compiled frames bands",
    "losses": "Adversarial zero_centred one_centred",
    "training": "Job State learn seed_pair shuffled judge slope between verdicts total d_terms "
    "g_terms call given seen view terms critic_steps job run_eagerly told_apart",
    "runs": "claim sweep Recorder RunFiles Table Damaged renumbered load_newest stopping whole",
    "diagnostics": "Illness Finding Signs vital_signs game_signs sound_signs fifths compared "
    "variety "
    "spread nearest constant given_up outrun won findings told_apart",
    "weights": "shipped ship card_of find_model modules_named in_float32 MUST checksum",
    "datasets": "Clips take voices folder pieces open_data fetch each batches audio_files",
    "metrics": "build_recogniser train_recogniser hear Judge figures disturb kernel_distance "
    "distances "
    "nearest balanced disjoint_sets MelPicture recogniser voices each",
    "specgan": "picture_generator picture_discriminator picture_gan grown alike Recipe normalised "
    "with_label from_noise to_sound mel_settings pictures_of run_of config_for textbook projection "
    "g_rate d_rate ema",
    "wavegan": "wave_critic WaveRecipe wave_gan critic_steps rate ema",
    "istft_gan": "SpectralHead frame_block spectral_generator spectral_gan SpectralRecipe views_of "
    "pulse_share softened moved grow spread fine share start",
    "discriminators": "frame_discriminator window_listener period_listener panel together "
    "listeners",
    "fidelity": "stft_terms score_lines delay FIGURES scale_free spectra_apart unlike compressed",
    "vocoder": "breath round_trip MelHead vocoder_net trips lean own bands",
    "vocoder_training": "apart lessons joined stretches hisses hum texture opponents breathing "
    "VocoderRecipe vocoder_gan trips lean own fall rate windows",
    "degrade": "narrow coarse squeeze gaps direct room reverberate equalised stretch_of Damage "
    "damage "
    "coloured mains KINDS law below highest",
    "streaming": "Local in_pieces held_back at_rate writing rewrite context align HOP",
    "baselines": "ideal_mask chirps at_least cubic_fill ar_sizes ar_fill memory rounds lost hiss",
    "detection": "examine Findings holes limits tops pauses highest moments",
    "restoration_net": "restorer Heard Mended patch_block widths memory most reach",
    "restoration_training": "noises_of RestorerRecipe pairs restoration_gan between likeness "
    "spectra fall rate highest",
    "restoration": "HEARINGS noise_in plan repair restorer_for restore_tree lost noisy todo say "
    "LEFT "
    "THERE certain",
    "speak": "classes_of words_of word_of join alike below hole VOICE",
    "demo": "damage_and_mend hit_drums score_rows save_pictures each",
    "cli": "VERBS",
}

# Words that plain English or another library (np.take, tf.Variable.assign, librosa's frames) use
# for something else; only the interface of their own module is closed to them.
EVERYDAY = words(
    """
    saturation slope sweep noise below silent opened describe rounded replacing whole form quality
    waveform picture curves page strip steps ceiling compiled frames bands Job State learn judge
    between total call given seen view terms job claim Table Damaged stopping Finding Signs compared
    variety spread nearest constant won findings evidence shipped ship MUST checksum Clips take
    voices folder pieces fetch each batches hear Judge figures disturb distances balanced recogniser
    grown alike Recipe normalised textbook projection ema rate softened moved grow fine share start
    panel together listeners delay FIGURES unlike compressed breath trips lean own apart lessons
    joined stretches hisses hum texture opponents breathing fall windows narrow coarse squeeze gaps
    direct room reverberate equalised Damage damage coloured mains KINDS law highest Local writing
    rewrite context align HOP chirps memory rounds lost hiss examine Findings holes limits tops
    pauses moments restorer Heard Mended widths most reach bank pairs likeness spectra plan repair
    noisy todo say LEFT THERE certain join hole VOICE Adversarial verdicts shuffled outrun fifths
    Recorder at_least
"""
)

SHIPPED = ["pictures-8k", "recogniser-8k"]

DROPPED = {name for names in LEFT.values() for name in words(names)} - set(EVERYDAY)
WORD = re.compile(r"(?<![\w-])(" + "|".join(sorted(DROPPED) + SHIPPED) + r")(?![\w-])")

PROSE = re.compile(
    r"\b(copyists?|opponents?|listeners?|told apart|vital signs?|mel pictures?|picture GANs?|"
    r"round trips?|verdicts?|hisses|lessons? for|spectral head|patients?|wards?|illness(?:es)?|"
    r"breathing|trips|pulse share|hearings)\b",
    re.IGNORECASE,
)

NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))
SCRIPTS = sorted(p for d in ("tests", "tools", "benchmarks") for p in (ROOT / d).glob("*.py"))
TABLES = sorted([*(ROOT / "benchmarks").glob("*.json"), *ROOT.glob("gan_audio_tut/assets/*.json")])
# These must name what was renamed, for example to refuse a run folder of version 0.1.
RENAMINGS = {"test_terms.py", "compare_versions.py", "05a_runs.ipynb", "05c_weights.ipynb"}
RENAMINGS |= {"test_runs.py", "test_weights.py"}


def text_of(path):
    "All that a reader sees of a file: sources and printed outputs of a notebook, without images."
    if path.suffix != ".ipynb":
        return path.read_text()
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        parts.append("".join(cell["source"]))
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            parts.append("".join(output.get("text", "")))
            parts += ["".join(data.get(kind, "")) for kind in ("text/plain", "text/markdown")]
    return "\n".join(parts)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *SCRIPTS, *TABLES], ids=lambda p: p.name)
def test_dropped_names_do_not_come_back(path):
    if path.name in RENAMINGS:
        return
    found = sorted(set(WORD.findall(text_of(path))))
    assert not found, f"{path.name}: {', '.join(found)}; CHANGELOG says what they are called now"


def interface(path):
    "Names of public functions, classes and constants, of their parameters and fields."
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_":
            args = node.args
            yield node.name
            yield from (a.arg for a in [*args.posonlyargs, *args.args, *args.kwonlyargs])
        elif isinstance(node, ast.ClassDef) and node.name[0] != "_":
            yield node.name
            yield from (n.target.id for n in node.body if isinstance(n, ast.AnnAssign))
            yield from (n.name for n in node.body if isinstance(n, ast.FunctionDef))
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))


@pytest.mark.parametrize("module", LEFT)
def test_interface_uses_the_fields_terms(module):
    public = set(interface(ROOT / "gan_audio_tut" / f"{module}.py"))
    assert not public & set(words(LEFT[module]))


@pytest.mark.parametrize("path", [*NOTEBOOKS, ROOT / "README.md", *TABLES], ids=lambda p: p.name)
def test_prose_uses_the_fields_terms(path):
    found = sorted({m.lower() for m in PROSE.findall(text_of(path))})
    assert not found, f"{path.name}: {', '.join(found)}"
