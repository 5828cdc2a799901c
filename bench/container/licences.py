"""The licences that packages name: as SPDX where what they say is clear, else in their own words."""

from __future__ import annotations

import re
from email.message import Message

LONGEST = 100
"""Letters. What is longer is a licence's text, not its name."""

CLASSIFIER = re.compile(r"License :: (?:OSI Approved :: )?(.+)")
SHORT_NAME = re.compile(r"^License:(.*)$", re.MULTILINE | re.IGNORECASE)
REFERRED = re.compile(r"/usr/share/common-licenses/([A-Za-z]+(?:-[0-9]+(?:\.[0-9]+)*)?)")
GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d)(\.\d)?(\+?)")
SPDX = {
    "Apache-2": "Apache-2.0",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "Expat": "MIT",
    "zlib": "Zlib",
}
"""Short names of Debian's, for those that SPDX writes otherwise. Source: its machine-readable copyright format 1.0."""


PYTHON = {
    "2-clause bsd": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd 3-clause license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
}
"""The same for names in Python packages that leave no doubt ("BSD License" does)."""


def python_licences(fields: Message) -> tuple[str, ...]:
    """Of a Python package's metadata: its SPDX expression, else the name that it gives, else its classifiers."""
    for name in ("License-Expression", "License"):
        said = str(fields.get(name, "")).strip()
        if said.upper() != "UNKNOWN" and _is_name(said):
            return (PYTHON.get(said.lower(), said),)
    classifiers = (CLASSIFIER.fullmatch(str(value).strip()) for value in fields.get_all("Classifier", []))
    named = {found[1] for found in classifiers if found is not None and _is_name(found[1])}
    return tuple(sorted({PYTHON.get(name.lower(), name) for name in named}))


def debian_licences(copyright_file: str) -> tuple[str, ...]:
    """Of a distribution's copyright file: all short names in it where it is machine-readable, else the common licences
    whose texts it refers to (which says nothing of "or later"), as common-licenses/GPL-3."""
    if re.match(r"\s*Format:", copyright_file, re.IGNORECASE):
        named = {name.strip() for name in SHORT_NAME.findall(copyright_file)}
        return tuple(sorted({_spdx(name) for name in named if _is_name(name)}))
    return tuple(sorted({f"common-licenses/{name}" for name in REFERRED.findall(copyright_file)}))


def _spdx(name: str) -> str:
    if gnu := GNU.fullmatch(name):
        return f"{gnu[1]}-{gnu[2]}{gnu[3] or '.0'}-{'or-later' if gnu[4] else 'only'}"
    return SPDX.get(name, name)


def _is_name(said: str) -> bool:
    return 0 < len(said) <= LONGEST and said.isprintable() and not said.startswith(("#", "Copyright"))
