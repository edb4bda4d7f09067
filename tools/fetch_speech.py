"""Real voices for training, 5 hours and 28 speakers, from Debian's free packages.

    pip install gan_audio_tut[data] && python tools/fetch_speech.py FOLDER

Telephone prompts and speech synthesisers need recordings of speech, and Debian has freely licensed
ones. Their packages (390 MB) are downloaded by name with apt-get, which checks their signatures.
The recordings are written as FOLDER/VOICE/*.flac: mono, at their own rate, which is 8 kHz, or
16 kHz and more where the name of the voice ends in -wide or the package has it. Nothing of it is
committed here. FOLDER/SOURCES.txt names authors, licences (CC BY(-SA) 3.0, BSD, GPL) and package
versions.
"""

import argparse
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from gan_audio_tut import audio, audio_io

# package -> {folder below share/ in the package: voice}; "*" is any folder, each a voice of its own
ASTERISK = "asterisk/sounds"
PACKAGES = {
    "asterisk-core-sounds-en-wav": {f"{ASTERISK}/en_US_f_Allison": "allison-en"},
    "asterisk-core-sounds-es-wav": {f"{ASTERISK}/es_MX_f_Allison": "allison-es"},
    "asterisk-core-sounds-fr-wav": {f"{ASTERISK}/fr_CA_f_June": "june-fr"},
    "asterisk-core-sounds-it-wav": {f"{ASTERISK}/it_IT_m_Carlo": "carlo-it"},
    "asterisk-core-sounds-ru-wav": {f"{ASTERISK}/ru_RU_f_IvrvoiceRU": "ivrvoice-ru"},
    "asterisk-core-sounds-en-g722": {f"{ASTERISK}/en_US_f_Allison": "allison-en-wide"},
    "asterisk-core-sounds-es-g722": {f"{ASTERISK}/es_MX_f_Allison": "allison-es-wide"},
    "asterisk-core-sounds-fr-g722": {f"{ASTERISK}/fr_CA_f_June": "june-fr-wide"},
    "asterisk-core-sounds-it-g722": {f"{ASTERISK}/it_IT_m_Carlo": "carlo-it-wide"},
    "asterisk-core-sounds-ru-g722": {f"{ASTERISK}/ru_RU_f_IvrvoiceRU": "ivrvoice-ru-wide"},
    "asterisk-prompt-it-menardi-wav": {f"{ASTERISK}/it_IT_f_Menardi": "menardi-it"},
    "asterisk-prompt-fr-armelle": {f"{ASTERISK}/fr": "armelle-fr"},
    "asterisk-prompt-es-co": {f"{ASTERISK}/es": "jimenez-es"},
    "festvox-ru": {"festival/voices/russian": "nsh-ru"},
    "klettres-data": {"klettres/*": "klettres"},
}
CORE = "CC BY-SA 3.0 (Asterisk core sounds)"
LICENCES = {
    "allison-en": f"Allison Smith, {CORE}",
    "allison-es": f"Allison Smith, {CORE}",
    "june-fr": f"June Wallack, {CORE}",
    "carlo-it": f"Carlo Flora, {CORE}",
    "ivrvoice-ru": "Maxim Topal, CC BY 3.0 (Asterisk core sounds)",
    "menardi-it": "CC BY-SA 3.0 Italia (asterisk-prompt-it)",
    "armelle-fr": "Armelle Desjardins for Michel Gutierrez, BSD",
    "jimenez-es": "July E. Jimenez, Avatar Ltda., GPL 2",
    "nsh-ru": "Nickolay V. Shmyrev, BSD (festvox-ru)",
    "klettres": "the voices of KDE's KLettres, one for each language, GPL 2 or later",
}
AUDIO_SUFFIXES = {".wav", ".ogg", ".gsm", ".g722"}
NOT_SPEECH = ("silence", "beep", "tone")


def download(package, folder):
    "Let apt-get download a package into `folder`; the path of its .deb file."
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise audio.InputError(
                f"{tool}: is missing; run this on Debian or Ubuntu, or in a container of one"
            )
    command = ["apt-get", "download", package]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = sorted(Path(folder).glob(f"{package}_*.deb"))
    if result.returncode or not found:
        reason = (result.stderr.strip().splitlines() or ["no file came"])[-1]
        raise audio.InputError(
            f"{package}: cannot be downloaded ({reason}); "
            "run apt-get update, or enable a release that has it"
        )
    return found[0]


def unpack(deb, folder):
    "Unpack a .deb file into `folder`."
    result = subprocess.run(["dpkg-deb", "-x", deb, folder], capture_output=True, text=True)
    if result.returncode:
        raise audio.InputError(f"{deb}: is damaged ({result.stderr.strip()}); download it again")


def decode(path):
    "First channel of a recording, and its rate; telephony has two formats without a header."
    if path.suffix == ".g722":
        from G722 import G722

        return np.asarray(G722(16000, 64000).decode(path.read_bytes()), np.float32) / 32768, 16000
    header = {}
    if path.suffix == ".gsm":
        header = {"format": "RAW", "samplerate": 8000, "channels": 1, "subtype": "GSM610"}
    y, sr = sf.read(io.BytesIO(path.read_bytes()), dtype="float32", always_2d=True, **header)
    return y[:, 0], sr


def voice_of(name, folders):
    "The voice that a file of a package belongs to, or None."
    for folder, voice in folders.items():
        inside = name.partition(f"share/{folder.rstrip('*')}")[2]
        if inside and not any(word in name for word in NOT_SPEECH):
            return f"{voice}-{inside.split('/')[0]}" if folder.endswith("*") else voice
    return None


def is_recording(path):
    return path.suffix in AUDIO_SUFFIXES and path.is_file() and not path.is_symlink()


def is_usable(y, sr):
    return len(y) >= 0.15 * sr and audio.rms(y) >= 1e-3


def extract(root, folders, out):
    "Every usable recording below `root` as OUT/VOICE/NUMBER.flac; {voice: how many}."
    counts = {}
    for path in sorted(filter(is_recording, root.rglob("*"))):
        voice = voice_of(path.relative_to(root).as_posix(), folders)
        if voice is None:
            continue
        try:
            y, sr = decode(path)
        except sf.LibsndfileError:
            continue
        if not is_usable(y, sr):
            continue
        if sr > 48000:
            # one of them has 128 kHz
            y, sr = audio.resample(y, sr, 48000), 48000
        counts[voice] = counts.get(voice, 0) + 1
        (out / voice).mkdir(parents=True, exist_ok=True)
        audio_io.save(out / voice / f"{counts[voice]:04d}.flac", y, sr)
    return counts


def fetch(package, folders, out):
    "Download and unpack one package and extract its voices; its file name and {voice: how many}."
    with tempfile.TemporaryDirectory() as folder:
        deb = download(package, folder)
        root = Path(folder) / "root"
        unpack(deb, root)
        return deb.name, extract(root, folders, out)


def write_sources(out, debs):
    voices = [f"{voice}: {licence}." for voice, licence in LICENCES.items()]
    text = "\n".join([*voices, "", "From these packages:", *debs])
    (out / "SOURCES.txt").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    out = parser.parse_args().folder
    if not importlib.util.find_spec("G722"):
        sys.exit("G722 is missing; pip install 'gan_audio_tut[data]'")
    debs = []
    try:
        for package, folders in PACKAGES.items():
            deb, counts = fetch(package, folders, out)
            debs.append(deb)
            print(deb, counts, flush=True)
    except audio.InputError as e:
        sys.exit(str(e))
    write_sources(out, debs)


if __name__ == "__main__":
    main()
