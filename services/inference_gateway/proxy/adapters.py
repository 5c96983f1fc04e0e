"""Several adapters on one base: which one a request gets, and how its engine is told.

`hotline:maria` or the header names one; a key that one is bound to gets it without asking, and nobody else gets that.
"""

from __future__ import annotations

from typing import Any

from services.inference_gateway.proxy import errors
from services.inference_gateway.proxy.snapshot import Adapter, Deployment, Target

HEADER = "x-gyre-adapter"


def chosen(deployment: Deployment, asked: str, key: str) -> str:
    """Name of the adapter that a request of `key` gets; empty for the base. Raises: ApiError 404 that lists them."""
    if not asked:
        return next((each.name for each in deployment.adapters if key in each.keys), "")
    usable = usable_by(deployment, key)
    if asked not in usable:
        raise errors.unknown_adapter(deployment.name, asked, usable)
    return asked


def usable_by(deployment: Deployment, key: str) -> list[str]:
    return [each.name for each in deployment.adapters if not each.keys or key in each.keys]


def on(target: Target, name: str) -> Adapter | None:
    """What `target` has under that name; another one may be on its way from or to an adapter of the same name."""
    return next((each for each in target.adapters if each.name == name), None)


def said_to_engine(target: Target, name: str) -> dict[str, Any]:
    """Fields of the request to an engine that has adapters.

    llama.cpp keeps all of them loaded and wants to hear of each how much it counts, of none of them too: what counts
    by default is nothing that a request should depend on. vLLM knows each as a model of its own.
    """
    if target.engine == "llama_cpp":
        return {"lora": [{"id": at, "scale": float(each.name == name)} for at, each in enumerate(target.adapters)]}
    adapter = on(target, name)
    return {"model": served_as(name, adapter.digest)} if adapter else {}


def served_as(name: str, digest: str) -> str:
    """What an engine calls it that loads adapters while it serves: two of one name may be there at once."""
    return f"{name}-{digest.removeprefix('sha256:')[:12]}"
