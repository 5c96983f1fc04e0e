"""Settings that every process shares. A service adds its own in its `settings.py`; all are `GYRE_*` variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gyre_kit import addresses

MODEL_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def is_model_archive(filename: str) -> bool:
    return filename.lower().endswith(MODEL_ARCHIVES)


class KitSettings(BaseSettings):
    """One instance a process. Every field is read from the environment variable `GYRE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="GYRE_", extra="ignore", frozen=True)

    home: Path = Field(Path(".gyre"), description="Folder that holds all state of this machine.")
    port_offset: int = Field(0, ge=0, le=50_000, description="Added to every port, so that two Gyres share a machine.")
    bind: str = Field("127.0.0.1", description="Address that servers listen on. Loopback unless told otherwise.")
    peer_host: str = Field(
        "127.0.0.1", description="Host on which services find one another; `{component}` is replaced by its name."
    )
    database_url: str = Field(
        "",
        description="PostgreSQL URL of a service's own role; `{component}` and `{password}` are filled in. "
        "Empty: the embedded PostgreSQL that `gyre up` starts.",
    )
    kafka_bootstrap: str = Field("", description="Kafka brokers, host:port. Empty: the embedded broker.")
    object_store: str = Field("", description="`file:///folder` or `s3://bucket/prefix`. Empty: a folder under home.")
    otlp_endpoint: str = Field("", description="OTLP collector (gRPC) for traces, http://host:port. Empty: no export.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    event_retention_hours: int = Field(
        168, ge=1, description="How long an outbox keeps what it sent, for a new broker, and a new topic its events."
    )
    max_upload_bytes: int = Field(134_217_728, gt=0, description="Largest data file that may be uploaded (128 MiB).")
    max_model_upload_bytes: int = Field(21_474_836_480, gt=0, description="Largest archive of weights (20 GiB).")
    rpc_timeout_seconds: float = Field(10.0, gt=0, description="Deadline of a call that names none.")

    def upload_limit(self, filename: str) -> int:
        """In bytes: weights, which come as archives, are larger than rows."""
        return self.max_model_upload_bytes if is_model_archive(filename) else self.max_upload_bytes

    @property
    def resolved_home(self) -> Path:
        return self.home.expanduser().resolve()

    def grpc_address(self, component: str) -> str:
        """host:port on which `component` answers gRPC."""
        host = self.peer_host.format(component=component.replace("_", "-"))
        return f"{host}:{addresses.GRPC_PORTS[component] + self.port_offset}"

    def grpc_listen(self, component: str) -> str:
        return f"{self.bind}:{addresses.GRPC_PORTS[component] + self.port_offset}"

    def metrics_port(self, component: str) -> int:
        return addresses.METRICS_PORTS[component] + self.port_offset

    @property
    def console_port(self) -> int:
        return addresses.CONSOLE_PORT + self.port_offset

    @property
    def openai_port(self) -> int:
        return addresses.OPENAI_PORT + self.port_offset

    @property
    def kafka_address(self) -> str:
        return self.kafka_bootstrap or f"127.0.0.1:{addresses.KAFKA_PORT + self.port_offset}"

    @property
    def object_store_url(self) -> str:
        return self.object_store or f"file://{self.resolved_home / 'objects'}"

    @property
    def keys_folder(self) -> Path:
        return self.resolved_home / "keys"

    def database_url_of(self, component: str) -> str:
        """The asyncpg URL with which `component` logs in to its own schema."""
        password_file = self.keys_folder / f"{component}.password"
        password = password_file.read_text().strip() if password_file.exists() else ""
        template = self.database_url or self._embedded_database_url()
        url = template.format(component=component, password=password)
        return url.replace("postgresql://", "postgresql+asyncpg://", 1)

    def _embedded_database_url(self) -> str:
        """`gyre up` leaves the URL template of its PostgreSQL in this file."""
        return (self.resolved_home / "run" / "database_url").read_text().strip()


class VllmSettings(KitSettings):
    """Of the services that launch vLLM: to serve, and to judge what it will serve."""

    vllm_python: str = Field(
        "", description="Python of an environment that vLLM is installed in, the same on all nodes. Empty: no vLLM."
    )
    vllm_memory_bytes: int = Field(6_000_000_000, gt=0, description="Memory that one vLLM replica asks for.")
    vllm_cards: int = Field(0, ge=0, le=64, description="Cards that one vLLM replica asks for; 0: it computes on CPU.")
