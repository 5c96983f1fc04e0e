"""Writes what in docs/ follows from code: both OpenAPI documents, the tables of settings and commands (`make gen`)."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import cli_reference
from gyre_kit.addresses import COMPONENTS, GRPC_PORTS, METRICS_PORTS
from gyre_kit.settings import KitSettings
from pydantic_settings import BaseSettings

DOCS = Path(__file__).parent


def main() -> None:
    write("openapi.json", json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n")
    write("gateway-openapi.json", json.dumps(gateway_openapi(), indent=1, ensure_ascii=False) + "\n")
    write("reference/settings.md", settings())
    write("reference/cli.md", cli_reference.page())


def openapi() -> dict[str, Any]:
    from services.api_gateway.rest.app import make_app

    def no_platform() -> Any:
        raise RuntimeError("only the document is made here")

    return make_app(no_platform).openapi()


def gateway_openapi() -> dict[str, Any]:
    from services.inference_gateway.proxy.openapi import document

    return document()


def settings() -> str:
    from deploy.local.settings import RuntimeSettings
    from services.inference_gateway.proxy.settings import ProxySettings

    parts = [
        "# Settings\n\nEvery setting is an environment variable. This page is generated (`make gen`); do not edit it.\n",
        section("Every process", KitSettings, KitSettings.__annotations__),
        section("`gyre up` on one machine", RuntimeSettings, own(RuntimeSettings)),
    ]
    for component in COMPONENTS:
        cls = import_module(f"services.{component}.settings").Settings
        if names := own(cls):
            parts.append(section(f"`{component}`", cls, names))
    parts.append(section("The OpenAI endpoint's workers", ProxySettings, ProxySettings.model_fields))
    parts.append(ports())
    return "\n".join(parts)


def own(cls: type[BaseSettings]) -> list[str]:
    return [name for name in cls.model_fields if name not in KitSettings.model_fields]


def section(title: str, cls: type[BaseSettings], names: Any) -> str:
    prefix = cls.model_config.get("env_prefix", "")
    lines = [f"## {title}\n", "| variable | default | what it is |", "|---|---|---|"]
    for name in names:
        if name not in cls.model_fields:
            continue
        field = cls.model_fields[name]
        lines.append(f"| `{prefix}{name.upper()}` | {default_of(field.default)} | {cell(field.description or '')} |")
    return "\n".join(lines) + "\n"


def default_of(value: Any) -> str:
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(DOCS.parent) if value.is_relative_to(DOCS.parent) else value
    return f"`{cell(str(value))}`" if value not in ("", None) else "(empty)"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def ports() -> str:
    lines = ["## Ports\n", "`GYRE_PORT_OFFSET` moves all of them.\n", "| component | gRPC | metrics |", "|---|---|---|"]
    lines += [f"| `{component}` | {GRPC_PORTS[component]} | {METRICS_PORTS[component]} |" for component in COMPONENTS]
    return "\n".join(lines) + "\n"


def write(name: str, content: str) -> None:
    path = DOCS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main()
