"""What the control plane makes of feedback before it asks the feedback service."""

from __future__ import annotations

import json

import pytest

from services.inference_gateway.front import submit_feedback
from services.inference_gateway.proxy.control import FeedbackCall


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"completion_id": "chatcmpl-1", "rating": "five stars"}, "rating is one of"),
        ({"completion_id": 5}, "completion_id must be a string"),
        ({"completion_id": "chatcmpl-1", "stars": 5}, "Unknown field stars"),
        ({"completion_id": "chatcmpl-1", "comment": "a\0b"}, "comment holds a character that cannot be kept"),
        ({"completion_id": "chatcmpl-1", "correction": "\ud83d"}, "correction holds a character"),
        ([], "must be a JSON object"),
    ],
)
async def test_feedback_that_cannot_be_kept_is_refused_by_field(body, says):
    call = FeedbackCall(project="demo", api_key="projects/demo/keys/1", role="VIEWER", body=json.dumps(body).encode())
    status, answer = await submit_feedback(None, call)  # refused before anything of the service is needed
    assert status == 400 and says in answer["error"]["message"] and answer["error"]["code"] == "invalid_feedback"
