"""Package metadata is read from settings.ini, its only home."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
config = ConfigParser(delimiters=["="])
config.read(here / "settings.ini", encoding="utf-8")
c = config["DEFAULT"]
init = (here / c["lib_path"] / "__init__.py").read_text(encoding="utf-8")
version = re.search(r'^__version__\s*=\s*["\']([^"\']+)', init, re.M)[1]


def lines(key):
    return [o.strip() for o in c.get(key, "").splitlines() if o.strip()]


extras = {k.removesuffix("_requirements"): lines(k) for k in c if k.endswith("_requirements")}
extras["all"] = sorted(
    {r for k, v in extras.items() if k not in ("dev", "docs", "cuda", "peers") for r in v}
)

setup(
    version=version,
    keywords=c["keywords"].split(),
    author=c["author"],
    author_email=c["author_email"],
    classifiers=[
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Multimedia :: Sound/Audio",
        "Intended Audience :: Education",
    ],
    packages=find_packages(include=[c["lib_path"], c["lib_path"] + ".*"]),
    include_package_data=True,
    install_requires=lines("requirements"),
    extras_require=extras,
    entry_points={
        "console_scripts": lines("console_scripts"),
        "nbdev": [f"{c['lib_path']}={c['lib_path']}._modidx:d"],
    },
)
