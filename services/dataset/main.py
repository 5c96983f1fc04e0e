"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.reconcile import Reconciler

from services.dataset.api import DatasetApi, UploadApi, VersionApi
from services.dataset.reconcile import collect_versions, forget_uploads, import_versions
from services.dataset.settings import Settings

app = App(
    component="dataset",
    settings=Settings(),
    servicers=[DatasetApi, UploadApi, VersionApi],
    reconcilers=[
        Reconciler(import_versions),
        Reconciler(collect_versions, every=60.0),
        Reconciler(forget_uploads, every=600.0),
    ],
)

if __name__ == "__main__":
    run(app)
