"""What this process is made of."""

from __future__ import annotations

from gyre_kit.app import App, run
from gyre_kit.auth import Role
from gyre_kit.reconcile import Reconciler

from services.model_registry.api import AliasApi, LineageApi, ModelApi, VariantApi, VersionApi
from services.model_registry.events import HANDLERS
from services.model_registry.fit_api import FitApi
from services.model_registry.licence_api import CardApi, LicenceApi
from services.model_registry.reconcile import collect_deleted, collect_uploads, fill_versions, make_variants
from services.model_registry.settings import Settings
from services.model_registry.transfer_api import FileApi, ModelUploadApi

app = App(
    component="model_registry",
    settings=Settings(),
    servicers=[
        ModelApi,
        VersionApi,
        VariantApi,
        AliasApi,
        LineageApi,
        LicenceApi,
        CardApi,
        ModelUploadApi,
        FileApi,
        FitApi,
    ],
    roles={"UpdateLicencePolicy": Role.ADMIN},
    handlers=HANDLERS,
    reconcilers=[
        Reconciler(fill_versions, every=0.5),
        Reconciler(make_variants, every=0.5),
        Reconciler(collect_deleted, every=600.0),
        Reconciler(collect_uploads, every=600.0),
    ],
)

if __name__ == "__main__":
    run(app)
