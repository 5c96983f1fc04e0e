"""Resource names and their addresses: `projects/p/batches/7` lies at `/projects/p/feedback-batches/7`."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

ADDRESSES: Final = {
    "batches": "feedback-batches",
    "inferenceBatches": "inference-batches",
    "auditEntries": "audit",
    "modelUploads": "model-uploads",
    "cardModels": "card-models",
    "clusterQueues": "cluster-queues",
    "priorityClasses": "priority-classes",
}


def path(name: str) -> str:
    """The REST path of a resource name or of a collection below one."""
    parts = name.split("/")
    for index in range(0, len(parts), 2):
        parts[index] = ADDRESSES.get(parts[index], parts[index])
    return "/" + "/".join(quote(part, safe=":@") for part in parts)


def last(name: str) -> str:
    """`3` of `projects/p/datasets/d/versions/3`."""
    return name.rsplit("/", 1)[-1]


def parent(name: str) -> str:
    """`projects/p/datasets/d` of `projects/p/datasets/d/versions/3`."""
    return name.rsplit("/", 2)[0]


def short(name: str) -> str:
    """For people: `hotline@3` of `projects/p/datasets/hotline/versions/3`, `m@2:q8-0` of a variant, else the id."""
    parts = name.split("/")
    if "versions" not in parts:
        return parts[-1]
    at = parts.index("versions")
    text = f"{parts[at - 1]}@{parts[at + 1]}"
    return f"{text}:{parts[-1]}" if "variants" in parts else text
