"""Generates everything that follows from the protos: libs/gyre and docs/asyncapi.yaml.

Run as `.venv/bin/python proto/gen.py` (`make gen`). The output depends on the protos and on the pinned tools alone, so
CI can regenerate it and fail on a difference. With `--release` it also writes proto/released.binpb, the contract with
which `buf breaking` compares.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = ROOT / "libs" / "gyre"
ASYNCAPI = ROOT / "docs" / "asyncapi.yaml"
RELEASED = PROTO / "released.binpb"

sys.path.insert(0, str(ROOT / "libs"))

# Beside this file; asyncapi needs libs on the path.
from asyncapi import render
from comments import comments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="store_true", help="also write proto/released.binpb")
    options = parser.parse_args()

    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("gyre/**/*.proto"))
    described = describe(sources, with_comments=True)
    said = comments(described)
    with tempfile.TemporaryDirectory() as folder:
        generated = Path(folder)
        generate_python(sources, generated)
        (generated / "gyre" / "comments.json").write_text(
            json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
        replace_tree(generated / "gyre", PACKAGE)
    write_if_changed(ASYNCAPI, render(described, said).encode())
    if options.release:
        released = describe(sources, with_comments=False)
        write_if_changed(RELEASED, released.SerializeToString(deterministic=True))


def generate_python(sources: list[str], target: Path) -> None:
    """Messages, gRPC classes and the type stubs of both."""
    compile_protos(
        sources,
        f"--plugin=protoc-gen-mypy={plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={plugin('protoc-gen-mypy_grpc')}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
    )
    # Files without a service get an empty gRPC module; nobody imports it.
    for stub in [*target.rglob("*_pb2_grpc.py"), *target.rglob("*_pb2_grpc.pyi")]:
        if not stub.name.removesuffix(".pyi").removesuffix(".py").endswith("_service_pb2_grpc"):
            stub.unlink()


def describe(sources: list[str], *, with_comments: bool) -> FileDescriptorSet:
    """The protos with their imports; with their comments where somebody reads them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.binpb"
        source_info = ["--include_source_info"] if with_comments else []
        compile_protos(sources, "--include_imports", *source_info, f"--descriptor_set_out={target}")
        return FileDescriptorSet.FromString(target.read_bytes())


def compile_protos(sources: list[str], *outputs: str) -> None:
    well_known = files("grpc_tools") / "_proto"
    status = protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *outputs, *sources])
    if status:
        raise SystemExit(f"protoc failed with status {status}; its messages are above")


def plugin(name: str) -> Path:
    """A protoc plugin of this environment, whatever PATH says."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise SystemExit(f"{name} is missing beside {sys.executable}: run `make setup`")
    return path


def replace_tree(source: Path, target: Path) -> None:
    """Makes `target` equal to `source`; files that are the same keep their time, stale ones and their folders go."""
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    for relative in sorted(wanted):
        if not (target / relative).exists() or not filecmp.cmp(source / relative, target / relative, shallow=False):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / relative, target / relative)


def write_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
