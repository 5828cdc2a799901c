"""A bill of materials: all packages of an image with versions and licences, in CycloneDX."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.container.contents import Contents, Package
from bench.container.sif import Image
from bench.errors import UserError

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License
    from packageurl import PackageURL

SECONDS = re.compile(r"[0-9]{1,11}")
LONGEST = 128
"""Letters of a label: the format sets a bound."""


def bill_of_materials(image: Image, contents: Contents) -> str:
    """CycloneDX 1.6 as JSON. The same image gives the same bytes: its serial number comes from the image's digest, its
    time from the label that tells the source's."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    digest = image.digest()
    labels = image.labels
    name = f"sweepmark-{labels.get('sweepmark.profile', 'image')[:LONGEST]}"
    described = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=labels.get("sweepmark.commit", "unknown")[:LONGEST],
        bom_ref=name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))],
    )
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, digest),
        metadata=BomMetaData(component=described, timestamp=_source_date(image)),
        components=_components(contents),
    )
    bom.register_dependency(described, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _source_date(image: Image) -> datetime:
    said = image.labels.get("sweepmark.source-date-epoch", "")
    if not SECONDS.fullmatch(said):
        raise UserError(
            f"{image.path} has the label sweepmark.source-date-epoch {said[:40]!r}, which is no time in seconds since "
            "1970: build it anew with make container."
        )
    return datetime.fromtimestamp(int(said), tz=UTC)


def _components(contents: Contents) -> Iterator[Component]:
    from packageurl import PackageURL

    for name, package in contents.python.items():
        yield _component(PackageURL(type="pypi", name=name, version=package.version), name, package)
    for name, package in contents.debian.items():
        where = {"arch": package.architecture, "distro": contents.release}
        url = PackageURL(
            type="deb", namespace=contents.distribution, name=name, version=package.version, qualifiers=where
        )
        yield _component(url, name, package)


def _component(url: PackageURL, name: str, package: Package) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=package.version,
        purl=url,
        bom_ref=str(url),
        licenses=_licences(package),
    )


def _licences(package: Package) -> list[License]:
    """One is an identifier, expression or name; several, which an expression would have to join, are names."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.spdx import fixup_id

    if len(package.licences) == 1:
        return [LicenseFactory().make_from_string(package.licences[0])]
    known = {said: fixup_id(said) for said in package.licences}
    return [DisjunctiveLicense(id=id) if id else DisjunctiveLicense(name=said) for said, id in known.items()]
