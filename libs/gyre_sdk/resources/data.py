"""Data sets, their versions, and uploads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gyre.dataset.v1.dataset_pb2 import Dataset
from gyre.dataset.v1.dataset_service_pb2 import CreateDatasetRequest
from gyre.dataset.v1.upload_pb2 import Upload
from gyre.dataset.v1.version_pb2 import MixIn, Reject, Row, SplitSettings, Version
from gyre.dataset.v1.version_service_pb2 import CreateVersionRequest, ListRowsRequest

from gyre_sdk import messages
from gyre_sdk.collection import Collection, request_id
from gyre_sdk.errors import GyreError

CHUNK = 256 * 1024
UPLOAD_SECONDS = 600.0

Progress = Callable[[int, int], None]


class Datasets(Collection[Dataset]):
    kind, plural = Dataset, "datasets"

    def create(
        self,
        dataset_id: str,
        type: str = "SFT",
        *,
        display_name: str = "",
        description: str = "",
        origin: str = "",
        licence: str = "",
        language: str = "",
    ) -> Dataset:
        """An empty data set. `type`: SFT, PREFERENCE, EVALUATION or PROMPT."""
        request = CreateDatasetRequest(
            dataset_id=dataset_id,
            type=messages.enum_value(CreateDatasetRequest, "type", type),
            display_name=display_name,
            description=description,
            origin=origin,
            licence=licence,
            language=language,
            request_id=request_id(),
        )
        return self._post(Dataset, f"{self.parent}/datasets", request)

    def update(self, name: str, **changes: Any) -> Dataset:
        """`changes`: display_name, description, origin, licence, language."""
        return self._patch(Dataset, self.name(name), changes)

    def delete(self, name: str, etag: str = "") -> None:
        self._delete(self.name(name), etag)

    def upload(self, file: str | Path, on_progress: Progress | None = None, type: str = "") -> Upload:
        """Streams a file up. `on_progress` gets bytes sent and bytes in all.

        With the `type` of the data set that it is for, a file of which no row fits is refused, and nothing kept.
        """
        path = Path(file)
        purpose = {"type": messages.enum_wire_name(Dataset, "type", type)} if type else {}
        reply = self._transport.call(
            "PUT",
            f"/{self.parent}/uploads",
            query={"filename": path.name, **purpose},
            content=_chunks(path, on_progress or (lambda sent, total: None)),
            timeout=UPLOAD_SECONDS,
        )
        return messages.parse(Upload, reply)

    def import_file(
        self,
        file: str | Path,
        dataset_id: str,
        type: str = "SFT",
        *,
        origin: str = "",
        licence: str = "",
        language: str = "",
        split: SplitSettings | None = None,
        on_progress: Progress | None = None,
    ) -> Version:
        """Uploads a file as the next version of a data set, which is made if it is missing. Returns it IMPORTING.

        A file of which no row can be used is refused before anything is made.
        """
        known = self._known(dataset_id)
        upload = self.upload(file, on_progress, messages.enum_name(known, "type") if known else type)
        dataset = known or self.create(dataset_id, type, origin=origin, licence=licence, language=language)
        return self.create_version(dataset.name, upload.uri, split=split, origin=origin, licence=licence)

    def ensure(self, dataset_id: str, type: str = "SFT", **fields: str) -> Dataset:
        """The data set, made if it is missing."""
        return self._known(dataset_id) or self.create(dataset_id, type, **fields)

    def _known(self, dataset_id: str) -> Dataset | None:
        try:
            return self.get(dataset_id)
        except GyreError as error:
            if not error.not_found:
                raise
            return None

    def create_version(
        self,
        dataset: str,
        source_uri: str = "",
        *,
        display_name: str = "",
        split: SplitSettings | None = None,
        mix_in: Iterable[MixIn] = (),
        origin: str = "",
        licence: str = "",
        derived_from: Iterable[str] = (),
    ) -> Version:
        """From an upload, from other versions, or both. Returns it IMPORTING."""
        request = CreateVersionRequest(
            display_name=display_name,
            source_uri=source_uri,
            split_settings=split,
            mix_in=list(mix_in),
            origin=origin,
            licence=licence,
            derived_from=list(derived_from),
            request_id=request_id(),
        )
        return self._post(Version, f"{self.name(dataset)}/versions", request)

    def version(self, reference: str) -> Version:
        """By name, `hotline@3`, or `hotline` for the newest that is READY."""
        return self._get(Version, self.version_name(reference))

    def version_name(self, reference: str) -> str:
        if "/versions/" in reference:
            return reference
        dataset, _, number = reference.partition("@")
        if number:
            return f"{self.name(dataset)}/versions/{number}"
        latest = self.get(dataset).latest_version
        if not latest:
            remedy = f"`gyre datasets versions {dataset}` shows how far it is."
            raise GyreError(412, "VERSION_NOT_READY", f"{dataset} has no version that is ready.", remedy)
        return latest

    def versions(self, dataset: str = "-", **query: Any) -> Iterator[Version]:
        """Of one data set, or of all (`-`), newest first."""
        return self._all(Version, f"{self.name(dataset)}/versions", "versions", **query)

    def delete_version(self, reference: str, etag: str = "") -> None:
        self._delete(self.version_name(reference), etag)

    def rows(self, reference: str, *, split: str = "", query: str = "", slice: str = "") -> Iterator[Row]:
        """Accepted rows. `split`: TRAIN or TEST; empty for both."""
        asked: Mapping[str, str] = {"query": query, "slice": slice}
        if split:
            asked = {**asked, "split": messages.enum_wire_name(ListRowsRequest, "split", split)}
        return self._all(Row, f"{self.version_name(reference)}/rows", "rows", **asked)

    def rejects(self, reference: str) -> Iterator[Reject]:
        """Refused rows, in the order of the source."""
        return self._all(Reject, f"{self.version_name(reference)}/rejects", "rejects")

    def wait_version(
        self, name: str, timeout: float | None = None, on_update: Callable[[Version], None] | None = None
    ) -> Version:
        """Until it is READY. Raises: GyreError, with what the import said, if it FAILED."""
        get = lambda: self._get(Version, name)
        return self._wait(get, ("READY",), timeout, on_update, check=True)


def holdouts(settings: Mapping[str, int], test_fraction: float | None = None, seed: int = 0) -> SplitSettings:
    """Split settings in one line: `holdouts({"parks": 60}, test_fraction=0.3)`."""
    split = SplitSettings(seed=seed)
    if test_fraction is not None:
        split.test_fraction = test_fraction
    for slice_name, rows in settings.items():
        split.holdouts.add(slice=slice_name, test_rows=rows)
    return split


def _chunks(path: Path, on_progress: Progress) -> Iterator[bytes]:
    total, sent = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
            sent += len(chunk)
            on_progress(sent, total)
