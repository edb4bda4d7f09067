"""Real voices to learn from, 5 hours and 28 speakers, out of Debian's free packages: `pip install gan_audio_tut[data] && python tools/fetch_speech.py FOLDER`.

Telephone prompts and speech syntheses need recordings of speech, and Debian has the freely licensed ones: 390 MB are
fetched once, checked by their hash, unpacked without Debian's tools, and written as FOLDER/VOICE/*.flac, mono, at the
rate that they had: 8 kHz, and 16 kHz and more where the voice's name ends in -wide or the package has it. Nothing of it is committed here. FOLDER/SOURCES.txt names authors and licences: CC BY(-SA) 3.0, BSD, GPL.
"""

import argparse
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pooch
import soundfile as sf
from G722 import G722

from gan_audio_tut import audio, audio_io

POOL = "https://deb.debian.org/debian/pool/main/"
PACKAGES = {  # file in the pool -> (SHA-256, {folder in the package: voice}; "*" is any folder, each a voice of its own)
    "a/asterisk-core-sounds/asterisk-core-sounds-en-wav_1.6.1-1_all.deb": (
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        {"asterisk/sounds/en_US_f_Allison": "allison-en"},
    ),
    "a/asterisk-core-sounds/asterisk-core-sounds-es-wav_1.6.1-1_all.deb": (
        "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
        {"asterisk/sounds/es_MX_f_Allison": "allison-es"},
    ),
    "a/asterisk-core-sounds/asterisk-core-sounds-fr-wav_1.6.1-1_all.deb": (
        "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        {"asterisk/sounds/fr_CA_f_June": "june-fr"},
    ),
    "a/asterisk-core-sounds/asterisk-core-sounds-it-wav_1.6.1-1_all.deb": (
        "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        {"asterisk/sounds/it_IT_m_Carlo": "carlo-it"},
    ),
    "a/asterisk-core-sounds/asterisk-core-sounds-ru-wav_1.6.1-1_all.deb": (
        "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        {"asterisk/sounds/ru_RU_f_IvrvoiceRU": "ivrvoice-ru"},
    ),
    **{
        f"a/asterisk-core-sounds/asterisk-core-sounds-{lang}-g722_1.6.1-1_all.deb": (
            known,
            {f"asterisk/sounds/{folder}": f"{voice}-wide"},
        )
        for lang, known, folder, voice in (
            (
                "en",
                "38c5261820b406dcb0ecb37675720da2b0864850690690352ca52707eb623806",
                "en_US_f_Allison",
                "allison-en",
            ),
            (
                "es",
                "e4e3b4281057d3b81b779298fd6be705f57411513955c518eed1bcaabbd615b8",
                "es_MX_f_Allison",
                "allison-es",
            ),
            (
                "fr",
                "7add61d5e42279ecff1bbdf842a5a946ac3644fac9a0fe44384731aa7270c8e0",
                "fr_CA_f_June",
                "june-fr",
            ),
            (
                "it",
                "46b4cf7afc508a5fcfc051b7ea233251c0d195dd4ef83cc4b7facb4c6429b016",
                "it_IT_m_Carlo",
                "carlo-it",
            ),
            (
                "ru",
                "673b4238a6b8269960f055d868c6a11083f7a0d00979167cb01554046b48ed9b",
                "ru_RU_f_IvrvoiceRU",
                "ivrvoice-ru",
            ),
        )
    },
    "a/asterisk-prompt-it/asterisk-prompt-it-menardi-wav_1.4.22+mm20110907-3.1_all.deb": (
        "3094530d98f8758ac275572d59624c41f60969fef883f34f4886d144f3dfeb21",
        {"asterisk/sounds/it_IT_f_Menardi": "menardi-it"},
    ),
    "a/asterisk-prompt-fr-armelle/asterisk-prompt-fr-armelle_20070613-2.2_all.deb": (
        "162570b1a9b3512a98f06b89f60c7c17cf1b9b52297315adca9a4e5be728bea3",
        {"asterisk/sounds/fr": "armelle-fr"},
    ),
    "a/asterisk-prompt-es-co/asterisk-prompt-es-co_0.20070403-2.1_all.deb": (
        "6702696e045514699e87dc8fb70f370717e5df91f821f7bec8dd0df1be008e83",
        {"asterisk/sounds/es": "jimenez-es"},
    ),
    "f/festvox-ru/festvox-ru_0.5+dfsg-6_all.deb": (
        "21ef3f0f2978ecf2e2eddb367cb0ff4a72572196d28dc69feb84f4177af5e6c4",
        {"festival/voices/russian": "nsh-ru"},
    ),
    "k/klettres/klettres-data_22.12.3-1_all.deb": (
        "1186d257a19e84230856baea0b0b1ded8be9195080fcdb2588970b5cd937f5a8",
        {"klettres/*": "klettres"},
    ),
}
SOURCES = """allison-en, allison-es: Allison Smith; june-fr: June Wallack; carlo-it: Carlo Flora; all CC BY-SA 3.0 (Asterisk core sounds).
ivrvoice-ru: Maxim Topal, CC BY 3.0 (Asterisk core sounds). menardi-it: CC BY-SA 3.0 Italia (asterisk-prompt-it).
armelle-fr: Armelle Desjardins for Michel Gutierrez, BSD. jimenez-es: July E. Jimenez, Avatar Ltda., GPL 2.
nsh-ru: Nickolay V. Shmyrev, BSD (festvox-ru). klettres-*: the voices of KDE's KLettres, one for each language, GPL 2 or later.
"""


def members(deb):
    "Name and bytes of every audio file of a Debian package: an `ar` archive with a tar in it."
    data, at = Path(deb).read_bytes(), 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip().rstrip("/"), int(data[at + 48 : at + 58])
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(data[at + 60 : at + 60 + size])) as tar:
                yield from (
                    (m.name, tar.extractfile(m).read())
                    for m in tar
                    if m.isfile() and m.name.endswith((".wav", ".ogg", ".gsm", ".g722"))
                )
        at += 60 + size + size % 2


def decoded(name, data):
    "One channel of a recording, and its rate; telephony has two formats without a header."
    if name.endswith(".g722"):
        return np.asarray(G722(16000, 64000).decode(data), np.float32) / 32768, 16000
    y, sr = sf.read(
        io.BytesIO(data),
        dtype="float32",
        always_2d=True,
        **(
            {"format": "RAW", "samplerate": 8000, "channels": 1, "subtype": "GSM610"}
            if name.endswith(".gsm")
            else {}
        ),
    )
    return y[:, 0], sr


def voice_of(name, folders):
    "The voice that a file of a package belongs to; None: nobody's."
    for folder, voice in folders.items():
        inside = name.partition(f"share/{folder.rstrip('*')}")[2]
        if inside and not any(word in name for word in ("silence", "beep", "tone")):
            return f"{voice}-{inside.split('/')[0]}" if folder.endswith("*") else voice


def unpack(deb, folders, out):
    "Every usable recording as OUT/VOICE/NUMBER.flac; how many."
    counts = {}
    for name, data in members(deb):
        if not (voice := voice_of(name, folders)):
            continue
        try:
            y, sr = decoded(name, data)
        except sf.LibsndfileError:
            continue
        if len(y) < 0.15 * sr or audio.rms(y) < 1e-3:
            continue
        counts[voice] = counts.get(voice, 0) + 1
        (out / voice).mkdir(parents=True, exist_ok=True)
        if sr > 48000:
            y, sr = audio.resample(y, sr, 48000), 48000  # one of them has 128 kHz
        audio_io.save(out / voice / f"{counts[voice]:04d}.flac", y, sr)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    out = parser.parse_args().folder
    for path, (known, folders) in PACKAGES.items():
        try:
            deb = pooch.retrieve(POOL + path, f"sha256:{known}", progressbar=sys.stdout.isatty())
        except Exception as e:
            sys.exit(f"{POOL + path}: {e}; get it from any Debian mirror or snapshot.debian.org")
        print(Path(path).name, unpack(deb, folders, out), flush=True)
    (out / "SOURCES.txt").write_text(SOURCES)
