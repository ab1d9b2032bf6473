"""sbom.json of a bundle: its bill of materials in CycloneDX 1.6, with the licence of each part.

Three kinds of parts, told apart by their scope: what a device needs beside the bundle ("required"), the pretrained
weights that the network began with ("required", a machine-learning model), and what it was made with ("excluded").
Versions are those of the machine that exported, which are the ones that were tested together.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from edgexfer import __version__
from edgexfer.core.target import Target
from edgexfer.train.backbones import Backbone
from edgexfer.train.checkpoint import Checkpoint, versions

SBOM = "sbom.json"
_ON_EVERY_DEVICE = ("edgexfer", "numpy", "pillow", "rich", "typer")
_ENGINES = {"ort": "onnxruntime", "openvino": "openvino", "tensorrt": "cuda-bindings"}
_OSI = "License :: OSI Approved :: "
_NOT_SAID = "not said by the package"


def bill_of_materials(checkpoint: Checkpoint, target: Target) -> str:
    """Returns the content of `sbom.json`; the same for the same checkpoint, target and installed versions.

    Args:
        checkpoint: what the bundle is made from.
        target: the engines it names are among the parts.
    """
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{checkpoint.digest} {target.name}"))
    # Without a time: what is made of the same parts has the same bill.
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = Component(
        name=str(checkpoint.manifest["name"]),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="bundle",
        version=checkpoint.digest,
    )
    parts = list(_parts(checkpoint, target))
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(bom.metadata.component, [part for part in parts if part.scope is ComponentScope.REQUIRED])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _parts(checkpoint: Checkpoint, target: Target) -> Iterator[Component]:
    if checkpoint.manifest["pretrained"] != "none":
        yield _weights(checkpoint.backbone, str(checkpoint.manifest["pretrained"]))
    engines = (_ENGINES.get(name) for name in (target.backend, *target.rivals))
    needed = (*_ON_EVERY_DEVICE, *(name for name in engines if name is not None))
    for name in needed:
        yield _package(name, ComponentScope.REQUIRED)
    for name in versions():
        if name not in (*needed, "python"):
            yield _package(name, ComponentScope.EXCLUDED)


def _weights(backbone: Backbone, source: str) -> Component:
    return Component(
        name=backbone.architecture,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"weights:{backbone.name}",
        scope=ComponentScope.REQUIRED,
        licenses=[LicenseFactory().make_from_string(backbone.weights_licence)],
        properties=[Property(name="edgexfer:source", value=source)],
    )


def _package(name: str, scope: ComponentScope) -> Component:
    try:
        found = metadata(name)
    except PackageNotFoundError:
        version, licence = (__version__, "Apache-2.0") if name == "edgexfer" else (None, None)
    else:
        version, licence = found["Version"], _licence_of(found)
    return Component(
        name=name,
        type=ComponentType.LIBRARY,
        bom_ref=f"package:{name}",
        version=version,
        purl=PackageURL("pypi", name=name, version=version),  # what vulnerability scanners look for
        scope=scope,
        licenses=[LicenseFactory().make_from_string(licence)] if licence else [],
    )


def _licence_of(found: PackageMetadata) -> str:
    named = [value.removeprefix(_OSI) for value in found.get_all("Classifier") or [] if value.startswith(_OSI)]
    told = found.get_all("License-Expression") or []
    # Some packages put the whole text of their licence into this one.
    told += [value for value in found.get_all("License") or [] if len(value) < 60]
    return next(filter(None, told), "") or " AND ".join(named) or _NOT_SAID
