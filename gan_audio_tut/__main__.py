"`python -m gan_audio_tut` is `gan-audio`."

from gan_audio_tut.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
