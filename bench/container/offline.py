"""Whether a script of an image's building reaches for a network: read, not run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

FETCHES = re.compile(
    r"(?<![\w.-])(?:aria2c|bzr|conda|curl|dnf|easy_install|ftp|git|hg|lftp|mamba|micromamba|nc|ncat|npm|pipx|rsync|"
    r"scp|sftp|snap|ssh|svn|telnet|uv|wget|yum|zypper)(?![\w.=/-])"
    r"|https?://|ftp://|/dev/(?:tcp|udp)/|urllib|urlopen|hf_hub_download"
)
PIP = re.compile(r"(?<![\w.-])pip[\d.]*[\"']?\s+(?:-\S+\s+)*(?:download|install|wheel)(?!\S)")
APT = re.compile(r"(?<![\w.-])(?:apt|apt-get|aptitude)\s(.*)")
APT_FETCHES = {"build-dep", "dist-upgrade", "download", "full-upgrade", "source", "update", "upgrade"}


def fetches(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Line and sentence of each call that asks something outside. `lines`: of a shell script, numbered."""
    joined, first = "", 0
    for number, text in lines:
        said = "" if text.lstrip().startswith("#") else text
        first = first if joined else number
        joined += said.removesuffix("\\")
        if said.endswith("\\"):
            continue
        if fetch := FETCHES.search(joined):
            yield first, f"'{fetch[0]}' in %post; an image is built offline, from what %files copies"
        if PIP.search(joined) and "--no-index" not in joined.split():
            yield first, "pip without --no-index in %post; an image is built offline, from the wheelhouse"
        if (apt := APT.search(joined)) and not _local(apt[1]):
            yield first, "apt asks its mirrors in %post; give it files of the wheelhouse to install"
        joined = ""


def _local(said: str) -> bool:
    """Whether apt is asked for nothing but the installation of files (which xargs may name)."""
    words = [word for word in re.split(r"\s(?:[|;&]|\d?[<>])", said)[0].split() if not word.startswith("-")]
    return not APT_FETCHES & set(words) and all("/" in word for word in words[1:])
