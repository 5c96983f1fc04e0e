"""What is peculiar to the embedded runtime, and where it keeps things under `GYRE_HOME`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from gyre_kit.settings import KitSettings
from pydantic import Field

MAX_SOCKET_PATH = 100  # sun_path has 108 bytes on Linux and 104 on macOS, terminator included
SOCKET_FILE = ".s.PGSQL.5432"


class RuntimeSettings(KitSettings):
    """The supervisor's settings. Children inherit the environment, so each setting is given once."""

    processes: int = Field(default=8, description="8: one process a service. 1: all services in one process.")
    upstream_url: str = Field(default="", description="An OpenAI-compatible engine that already runs, with its /v1.")
    upstream_model: str = Field(
        default="", description="The model's name at that engine. Empty: the first that it lists."
    )
    upstream_deployment: str = Field(default="", description="Name under which it is served. Empty: its model's name.")
    upstream_key_ref: str = Field(default="", description="Variable with its key: GYRE_UPSTREAM_KEY…")
    upstream_region: str = Field(default="", description="Where it computes, if it is rented, for example eu.")
    start_timeout_seconds: float = Field(
        default=90.0, gt=0, description="How long `gyre up` waits for everything to be ready."
    )
    stop_grace_seconds: float = Field(
        default=10.0, gt=0, description="Between SIGTERM and SIGKILL, for a service or workload."
    )
    log_max_bytes: int = Field(default=10_000_000, gt=0, description="A log file is rotated beyond this size.")
    log_keep: int = Field(default=3, ge=1, description="How many rotated files are kept of each log.")

    @property
    def run_folder(self) -> Path:
        return self.resolved_home / "run"

    @property
    def logs_folder(self) -> Path:
        return self.resolved_home / "logs"

    @property
    def work_folder(self) -> Path:
        return self.resolved_home / "work"

    @property
    def postgres_folder(self) -> Path:
        return self.resolved_home / "postgres"

    @property
    def postgres_socket_folder(self) -> Path:
        """Under the home, or in the temporary folder where that path is too long for a Unix socket."""
        folder = self.postgres_folder / "socket"
        if len(os.fsencode(folder / SOCKET_FILE)) <= MAX_SOCKET_PATH:
            return folder
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"gyre-{os.geteuid()}-{digest}"

    @property
    def state_file(self) -> Path:
        return self.run_folder / "state.json"

    @property
    def lock_file(self) -> Path:
        return self.run_folder / "supervisor.lock"

    @property
    def database_url_file(self) -> Path:
        """Read by `KitSettings.database_url_of`."""
        return self.run_folder / "database_url"

    @property
    def admin_key_file(self) -> Path:
        """Written by api_gateway at its first start."""
        return self.resolved_home / "admin.key"

    def log_file(self, name: str) -> Path:
        return self.logs_folder / f"{name}.log"

    def as_environment(self) -> dict[str, str]:
        """These very settings for another process, wherever they came from."""
        values = {name: getattr(self, name) for name in type(self).model_fields} | {"home": self.resolved_home}
        return {f"GYRE_{name.upper()}": str(value) for name, value in values.items()}

    def prepare_home(self) -> None:
        """Makes the folders. As root the home lets others pass through (not list), because PostgreSQL refuses to
        run as root and its account must reach its folder; what is secret lies in folders of mode 0700."""
        self.resolved_home.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.run_folder, self.logs_folder, self.work_folder, self.keys_folder):
            folder.mkdir(exist_ok=True, mode=0o700)
