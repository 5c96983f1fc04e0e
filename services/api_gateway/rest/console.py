"""The console's built files; every other address that is no file gets its index page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from gyre_kit.app import Context
from starlette.exceptions import HTTPException

NOT_BUILT = "The console is not built. Run `make console`, then reload this page. The API is at /api/v1.\n"
FOR_EVER = "public, max-age=31536000, immutable"  # Vite puts a hash into the names below assets/


def install(app: FastAPI, context: Callable[[], Context]) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def health() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/{path:path}", include_in_schema=False)
    async def page(path: str) -> Response:
        if path.startswith("api/"):
            raise HTTPException(404, f"There is no /{path}. The API is described at /api/v1/openapi.json.")
        folder: Path = context().settings.console_folder
        index = folder / "index.html"
        if not index.is_file():
            return PlainTextResponse(NOT_BUILT, status_code=503)
        file = (folder / path).resolve()
        if path and file.is_file() and file.is_relative_to(folder.resolve()):
            cache = FOR_EVER if path.startswith("assets/") else "no-cache"
            return FileResponse(file, headers={"cache-control": cache})
        return FileResponse(index, headers={"cache-control": "no-cache"})
