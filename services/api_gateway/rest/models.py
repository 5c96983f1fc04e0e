"""Models, versions, variants, aliases, lineage, licences, cards."""

from __future__ import annotations

from gyre.model_registry.v1.alias_service_pb2_grpc import AliasServiceStub
from gyre.model_registry.v1.card_service_pb2_grpc import CardServiceStub
from gyre.model_registry.v1.file_service_pb2_grpc import FileServiceStub
from gyre.model_registry.v1.fit_service_pb2_grpc import FitServiceStub
from gyre.model_registry.v1.licence_service_pb2_grpc import LicenceServiceStub
from gyre.model_registry.v1.lineage_service_pb2_grpc import LineageServiceStub
from gyre.model_registry.v1.model_service_pb2_grpc import ModelServiceStub
from gyre.model_registry.v1.upload_service_pb2_grpc import ModelUploadServiceStub
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre.model_registry.v1.version_service_pb2_grpc import VersionServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
MODEL = {"name": "projects/{project}/models/{model}"}
IN_MODEL = {"parent": MODEL["name"]}
VERSION = {"name": "projects/{project}/models/{model}/versions/{version}"}
VARIANT = {"name": "projects/{project}/models/{model}/versions/{version}/variants/{variant}"}
ALIAS = {"name": "projects/{project}/models/{model}/aliases/{alias}"}
CARD = {"name": f"{VERSION['name']}/card"}
POLICY, POLICY_PATH = {"name": "projects/{project}/licencePolicy"}, "/projects/{project}/licence-policy"
UPLOAD, UPLOADS_PATH = {"name": "projects/{project}/modelUploads/{upload}"}, "/projects/{project}/model-uploads"
LIST, ONE = "/projects/{project}/models", "/projects/{project}/models/{model}"
ONE_VERSION = f"{ONE}/versions/{{version}}"
ONE_VARIANT = f"{ONE_VERSION}/variants/{{variant}}"

ROUTES = [
    Route("GET", LIST, ModelServiceStub, "ListModels", IN_PROJECT),
    Route("POST", LIST, ModelServiceStub, "CreateModel", IN_PROJECT, required=("model_id",)),
    Route("GET", ONE, ModelServiceStub, "GetModel", MODEL),
    Route("PATCH", ONE, ModelServiceStub, "UpdateModel", MODEL, resource="model"),
    Route("DELETE", ONE, ModelServiceStub, "DeleteModel", MODEL),
    Route("GET", f"{ONE}/versions", VersionServiceStub, "ListVersions", IN_MODEL),
    Route("POST", f"{ONE}/versions:import", VersionServiceStub, "ImportVersion", IN_MODEL),
    Route("POST", f"{ONE}/versions:register", VersionServiceStub, "RegisterVersion", IN_MODEL),
    Route("GET", ONE_VERSION, VersionServiceStub, "GetVersion", VERSION),
    Route("DELETE", ONE_VERSION, VersionServiceStub, "DeleteVersion", VERSION),
    Route("GET", f"{ONE_VERSION}/variants", VariantServiceStub, "ListVariants", {"parent": VERSION["name"]}),
    Route("POST", f"{ONE_VERSION}/variants", VariantServiceStub, "CreateVariant", {"parent": VERSION["name"]}),
    Route("GET", ONE_VARIANT, VariantServiceStub, "GetVariant", VARIANT),
    Route("GET", "/projects/{project}/fit", FitServiceStub, "GetFit"),
    Route("GET", f"{ONE_VARIANT}/files", FileServiceStub, "ListModelFiles", {"parent": VARIANT["name"]}),
    Route("GET", f"{ONE}/aliases", AliasServiceStub, "ListAliases", IN_MODEL),
    Route("POST", f"{ONE}/aliases/{{alias}}:move", AliasServiceStub, "MoveAlias", ALIAS),
    Route("GET", f"{ONE}/aliases/{{alias}}:resolve", AliasServiceStub, "ResolveAlias", ALIAS),
    Route("GET", f"{ONE}/aliases/{{alias}}/moves", AliasServiceStub, "ListAliasMoves", {"parent": ALIAS["name"]}),
    Route("GET", UPLOADS_PATH, ModelUploadServiceStub, "ListModelUploads", IN_PROJECT),
    Route("POST", UPLOADS_PATH, ModelUploadServiceStub, "CreateModelUpload", IN_PROJECT, required=("files",)),
    Route("GET", f"{UPLOADS_PATH}/{{upload}}", ModelUploadServiceStub, "GetModelUpload", UPLOAD),
    Route("DELETE", f"{UPLOADS_PATH}/{{upload}}", ModelUploadServiceStub, "DeleteModelUpload", UPLOAD),
    Route("GET", "/projects/{project}/lineage", LineageServiceStub, "GetLineage"),
    Route("GET", "/projects/{project}/licence-terms", LicenceServiceStub, "GetLicenceTerms"),
    Route("GET", POLICY_PATH, LicenceServiceStub, "GetLicencePolicy", POLICY),
    Route("PATCH", POLICY_PATH, LicenceServiceStub, "UpdateLicencePolicy", POLICY, resource="licence_policy"),
    Route("GET", f"{ONE_VERSION}/card", CardServiceStub, "GetModelCard", CARD),
    Route("POST", f"{ONE_VERSION}/card:edit", CardServiceStub, "EditModelCard", CARD),
]
