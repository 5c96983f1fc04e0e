"""The JSON that services write, the schemas that readers check it with, and the models of REST bodies agree."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from fastapi import FastAPI
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from gyre.dataset.v1.dataset_pb2 import Dataset
from gyre.dataset.v1.dataset_service_pb2 import CreateDatasetRequest, UpdateDatasetRequest
from gyre.dataset.v1.version_pb2 import Version
from gyre.dataset.v1.version_service_pb2 import CreateVersionRequest
from gyre.training_scheduler.v1.run_pb2 import MetricPoint, Run
from gyre.training_scheduler.v1.run_service_pb2 import CreateRunRequest
from gyre_kit.events import to_dict
from gyre_kit.schemas import json_schemas, request_model, response_model, to_message
from pydantic import ValidationError

ROOT = Path(__file__).resolve().parents[3]
ASYNCAPI = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))

# ARCHITECTURE.md's table, and what came since.
EVENTS = {
    "dataset": "VersionReady VersionFailed VersionDeleted VersionLicenceChanged",
    "training_scheduler": "RunQueued RunStarted RunCheckpointed RunSucceeded RunFailed RunCancelled "
    "RunPaused RunResumed RunAlarmed PipelineFinished",
    "gpu_scheduler": "WorkloadQueued WorkloadAdmitted WorkloadStarted WorkloadPreempted WorkloadFinished "
    "WorkloadFailed WorkloadCancelled NodeJoined NodeLost NodeGone NodeChanged CardFailed",
    "evaluation": "EvaluationCompleted EvaluationFailed VerdictGiven ComparisonCompleted ComparisonFailed",
    "model_registry": "VersionRegistered VariantReady AliasMoved VersionDeleted",
    "inference_gateway": "DeploymentReady DeploymentDeleted DeploymentFailed TrafficShifted RolloutFinished "
    "CompletionRecorded CompletionDeleted ExperimentFinished InferenceBatchFinished",
    "feedback": "FeedbackSubmitted FeedbackDecided FeedbackForgotten BatchReady",
    "api_gateway": "KeyChanged ProjectChanged AuditRecorded",
}
EVENT_NAMES = [f"gyre.{component}.v1.{name}" for component, names in EVENTS.items() for name in names.split()]
# Fields that hold what people wrote; a topic cannot forget them.
TEXT_OF_PEOPLE = {"messages", "prompt", "answer", "correction", "comment", "content", "excerpt", "failure_message"}


def message_classes() -> Iterator[type[Message]]:
    """Every message of every proto."""
    for path in sorted((ROOT / "libs" / "gyre").rglob("*_pb2.py")):
        module = importlib.import_module(".".join(path.relative_to(ROOT / "libs").with_suffix("").parts))
        for descriptor in module.DESCRIPTOR.message_types_by_name.values():
            yield GetMessageClass(descriptor)


MESSAGES = {cls.DESCRIPTOR.full_name: cls for cls in message_classes()}


def filled(cls: type[Message]) -> Any:
    """A message in which every field says something; of a oneof the last one."""
    message: Any = cls()
    for field in cls.DESCRIPTOR.fields:
        _fill(message, field)
    return message


def _fill(message: Any, field: FieldDescriptor) -> None:
    entry = field.message_type
    if entry and entry.GetOptions().map_entry:
        value = entry.fields_by_name["value"]
        if value.message_type:
            getattr(message, field.name)["text"].CopyFrom(filled(GetMessageClass(value.message_type)))
            return
        kinds: dict[int, Any] = {FieldDescriptor.TYPE_DOUBLE: 0.5, FieldDescriptor.TYPE_INT32: 7}
        getattr(message, field.name)["loss"] = kinds.get(value.type, "text")
    elif entry and entry.full_name == "google.protobuf.FieldMask":
        getattr(message, field.name).paths.append("display_name")
    elif entry and entry.full_name == "google.protobuf.Struct":
        getattr(message, field.name).update({"cliprange": 0.5, "kl_estimator": "k3"})
    elif entry and entry.full_name.startswith("google."):
        getattr(message, field.name).seconds = 1_700_000_000
    elif entry and field.is_repeated:
        getattr(message, field.name).append(filled(GetMessageClass(entry)))
    elif entry:
        getattr(message, field.name).CopyFrom(filled(GetMessageClass(entry)))
    elif field.is_repeated:
        getattr(message, field.name).append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: FieldDescriptor) -> Any:
    samples = {
        FieldDescriptor.TYPE_BOOL: True,
        FieldDescriptor.TYPE_BYTES: b"\x00\xff",
        FieldDescriptor.TYPE_DOUBLE: 0.25,
        FieldDescriptor.TYPE_ENUM: 1,
        FieldDescriptor.TYPE_INT32: -7,
        FieldDescriptor.TYPE_INT64: 2**53 + 1,
        FieldDescriptor.TYPE_STRING: "projects/p/things/1",
    }
    return samples[field.type]


def check(event: str, payload: Any) -> None:
    """Validates as a downstream team would, with the document alone."""
    ref = ASYNCAPI["components"]["messages"][event]["payload"]["$ref"]
    schema = {"$ref": ref, "components": ASYNCAPI["components"]}
    checker = jsonschema.Draft7Validator.FORMAT_CHECKER
    jsonschema.Draft7Validator(schema, format_checker=checker).validate(payload)


def test_the_document_lists_exactly_the_events_of_the_architecture() -> None:
    assert sorted(ASYNCAPI["components"]["messages"]) == sorted(EVENT_NAMES)
    for component, names in EVENTS.items():
        assert list(ASYNCAPI["channels"][f"gyre.{component}"]["messages"]) == names.split()


@pytest.mark.parametrize("event", EVENT_NAMES)
def test_an_event_as_a_service_writes_it_is_valid(event: str) -> None:
    check(event, to_dict(filled(MESSAGES[event])))


@pytest.mark.parametrize("event", EVENT_NAMES)
def test_an_event_that_lost_a_field_or_got_another_type_or_one_more_is_refused(event: str) -> None:
    payload = to_dict(filled(MESSAGES[event]))
    for field in payload:
        without = {key: value for key, value in payload.items() if key != field}
        with pytest.raises(jsonschema.ValidationError):
            check(event, without)
        with pytest.raises(jsonschema.ValidationError):
            check(event, {**payload, field: None})
    with pytest.raises(jsonschema.ValidationError):
        check(event, {**payload, "one_more": "x"})


def test_a_field_of_a_nested_object_counts_too() -> None:
    payload = to_dict(filled(MESSAGES["gyre.evaluation.v1.EvaluationCompleted"]))
    broken = copy.deepcopy(payload)
    del broken["scores"][0]["lower"]
    with pytest.raises(jsonschema.ValidationError, match="'lower' is a required property"):
        check("gyre.evaluation.v1.EvaluationCompleted", broken)


def test_no_event_has_a_field_for_what_people_wrote() -> None:
    for name, schema in ASYNCAPI["components"]["schemas"].items():
        assert not TEXT_OF_PEOPLE & set(schema.get("properties", {})), name


def test_the_headers_name_the_event_and_its_component() -> None:
    headers = ASYNCAPI["components"]["schemas"]["gyre.feedback.v1.BatchReady.Headers"]
    assert headers["properties"]["ce_type"]["const"] == "gyre.feedback.v1.BatchReady"
    assert headers["properties"]["ce_source"]["const"] == "/gyre/feedback"
    assert "ce_traceparent" not in headers["required"]


def test_an_event_with_a_field_that_can_be_unset_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Run\.loss can be left unset"):
        json_schemas([Run.DESCRIPTOR], {}, "#/")


@pytest.mark.parametrize("name", MESSAGES)
def test_the_response_model_takes_what_a_service_answers_and_gives_it_back_unchanged(name: str) -> None:
    cls = MESSAGES[name]
    for message in (cls(), filled(cls)):
        answer = to_dict(message)
        given_back = response_model(cls).model_validate(answer).model_dump(mode="json")
        assert json_format.ParseDict(given_back, cls()) == message
        assert set(given_back) == set(answer)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_response_schema_accepts_the_answer_and_is_closed(name: str) -> None:
    cls = MESSAGES[name]
    schema = response_model(cls).model_json_schema(mode="serialization")
    for message in (cls(), filled(cls)):
        jsonschema.validate(to_dict(message), schema, cls=jsonschema.Draft202012Validator)
    for part in [schema, *schema.get("$defs", {}).values()]:
        assert part["type"] != "object" or part["additionalProperties"] is False
    always_there = [field.name for field in cls.DESCRIPTOR.fields if not field.has_presence]
    assert schema.get("required", []) == always_there


@pytest.mark.parametrize("name", MESSAGES)
def test_the_request_model_builds_the_very_message(name: str) -> None:
    cls = MESSAGES[name]
    body = request_model(cls)
    for message in (cls(), filled(cls)):
        assert to_message(body.model_validate(to_dict(message)), cls) == message
    assert to_message(body.model_validate({}), cls) == cls()


def test_a_body_leaves_out_what_the_path_says_and_asks_for_what_it_must_have() -> None:
    body = request_model(CreateDatasetRequest, omit=("parent",), required=("dataset_id", "type"))
    given = body.model_validate({"dataset_id": "hotline", "type": "TYPE_SFT"})
    assert to_message(given, CreateDatasetRequest, parent="projects/p") == CreateDatasetRequest(
        parent="projects/p", dataset_id="hotline", type=Dataset.TYPE_SFT
    )
    assert body.model_json_schema()["required"] == ["dataset_id", "type"]


@pytest.mark.parametrize(
    ("given", "at_fault"),
    [
        ({"dataset_id": "hotline"}, "type"),
        ({"dataset_id": "", "type": "TYPE_SFT"}, "dataset_id"),
        ({"dataset_id": "hotline", "type": "TYPE_SFD"}, "type"),
        ({"dataset_id": "hotline", "type": "TYPE_SFT", "licenze": "MIT"}, "licenze"),
        ({"dataset_id": "hotline", "type": "TYPE_SFT", "parent": "projects/other"}, "parent"),
        ({"dataset_id": "hotline", "type": "TYPE_SFT", "display_name": 7}, "display_name"),
    ],
)
def test_a_wrong_body_is_refused_with_the_field_at_fault(given: dict[str, Any], at_fault: str) -> None:
    body = request_model(CreateDatasetRequest, omit=("parent",), required=("dataset_id", "type"))
    with pytest.raises(ValidationError) as refused:
        body.model_validate(given)
    assert [error["loc"] for error in refused.value.errors()] == [(at_fault,)]


def test_a_patch_offers_only_what_may_change_and_keeps_unset_apart_from_empty() -> None:
    patch = request_model(Dataset, only=("display_name", "description", "etag"))
    given = patch.model_validate({"description": ""})
    assert given.model_fields_set == {"description"}
    with pytest.raises(ValidationError):
        patch.model_validate({"state": "STATE_DELETED"})


def test_an_optional_number_that_is_given_as_zero_stays_set() -> None:
    body = request_model(CreateVersionRequest)
    asked = to_message(body.model_validate({"split_settings": {"test_fraction": 0}}), CreateVersionRequest)
    assert asked.split_settings.HasField("test_fraction")
    assert not asked.split_settings.HasField("near_duplicate_threshold")


@pytest.mark.parametrize("seed", [7, "7", -(2**63), str(2**63 - 1)])
def test_an_int64_may_come_as_a_number_or_as_text(seed: int | str) -> None:
    body = request_model(CreateRunRequest).model_validate({"spec": {"seed": seed}})
    assert to_message(body, CreateRunRequest).spec.seed == int(seed)


@pytest.mark.parametrize("seed", [2**63, str(-(2**63) - 1), 1.5, "seven", True, None])
def test_what_is_no_int64_is_refused_before_protobuf_sees_it(seed: object) -> None:
    with pytest.raises(ValidationError):
        request_model(CreateRunRequest).model_validate({"spec": {"seed": seed}})


def test_a_loss_that_diverged_is_passed_on() -> None:
    answer = to_dict(MetricPoint(step=3, metrics={"loss": float("nan"), "grad_norm": float("inf")}))
    given_back = response_model(MetricPoint).model_validate(answer).model_dump(mode="json")
    assert given_back["metrics"] == {"loss": "NaN", "grad_norm": "Infinity"}


def test_a_field_that_a_message_does_not_have_cannot_be_named() -> None:
    with pytest.raises(ValueError, match=r"UpdateDatasetRequest does not offer \['parent'\]"):
        request_model(UpdateDatasetRequest, omit=("parent",))


def test_openapi_has_closed_objects_required_fields_and_the_protos_words() -> None:
    app = FastAPI()
    body = request_model(CreateVersionRequest, omit=("parent",))

    async def create_version(body: Any) -> Any:
        raise AssertionError(body)

    create_version.__annotations__["body"] = body
    app.post("/versions", response_model=response_model(Version))(create_version)
    schemas = app.openapi()["components"]["schemas"]
    ours = {name: schema for name, schema in schemas.items() if name.startswith("dataset_")}
    taken = {"dataset_CreateVersionRequest", "dataset_SplitSettingsInput"}
    assert taken | {"dataset_Version", "dataset_SplitSettings", "dataset_Version_State"} <= set(ours)
    assert all(schema["additionalProperties"] is False for schema in ours.values() if schema["type"] == "object")
    assert "digest" in ours["dataset_Version"]["required"]
    assert "create_time" not in ours["dataset_Version"]["required"]
    assert ours["dataset_Version"]["properties"]["digest"]["description"].startswith("`sha256:<hex>`")
    assert "null" not in str(ours["dataset_Version"])
