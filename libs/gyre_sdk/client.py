"""The client: one object for one Gyre, one key and one project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from gyre_sdk import chat
from gyre_sdk.config import Config, load
from gyre_sdk.resources.accounting import Accounting
from gyre_sdk.resources.batches import InferenceBatches
from gyre_sdk.resources.capacity import Nodes, Queues, Workloads
from gyre_sdk.resources.cluster_queues import ClusterQueues, Cohorts, PriorityClasses
from gyre_sdk.resources.costs import Costs
from gyre_sdk.resources.data import Datasets
from gyre_sdk.resources.downloads import ModelFiles
from gyre_sdk.resources.evaluation import Comparisons, Evaluations, Suites, Verdicts
from gyre_sdk.resources.feedback import Batches, FeedbackItems
from gyre_sdk.resources.identity import Keys, Projects
from gyre_sdk.resources.licences import Licences
from gyre_sdk.resources.models import Models
from gyre_sdk.resources.prompts import Prompts, TrafficPolicies
from gyre_sdk.resources.serving import Completions, Deployments
from gyre_sdk.resources.traces import Traces
from gyre_sdk.resources.traffic import Experiments, Shadows
from gyre_sdk.resources.training import Pipelines, Runs, Tries
from gyre_sdk.resources.uploads import ModelUploads
from gyre_sdk.transport import Transport


class Gyre:
    """Synchronous; thread-safe as far as httpx.Client is. Everything may raise GyreError.

    Without arguments: `GYRE_URL`, `GYRE_API_KEY`, `GYRE_PROJECT`, else the Gyre whose home is `./.gyre`. `config` says it all at once.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        project: str | None = None,
        timeout: float = 30.0,
        config: Config | None = None,
    ) -> None:
        self.config = config or load(url, key, project)
        self._transport = Transport(self.config, timeout)
        of = (self._transport, self.config.project)
        self.datasets, self.models = Datasets(*of), Models(*of)
        self.model_uploads, self.model_files = ModelUploads(*of), ModelFiles(*of)
        self.runs, self.tries, self.pipelines = Runs(*of), Tries(*of), Pipelines(*of)
        self.suites, self.evaluations, self.verdicts = Suites(*of), Evaluations(*of), Verdicts(*of)
        self.comparisons = Comparisons(*of)
        self.deployments, self.completions = Deployments(*of), Completions(*of)
        self.shadows, self.experiments = Shadows(*of), Experiments(*of)
        self.traces = Traces(*of)
        self.inference_batches = InferenceBatches(*of)
        self.prompts, self.traffic_policies = Prompts(*of), TrafficPolicies(*of)
        self.feedback, self.batches = FeedbackItems(*of), Batches(*of)
        self.queues, self.workloads, self.nodes = Queues(*of), Workloads(*of), Nodes(*of)
        self.cluster_queues, self.cohorts = ClusterQueues(*of), Cohorts(*of)
        self.priority_classes = PriorityClasses(*of)
        self.projects, self.keys = Projects(*of), Keys(*of)
        self.licences = Licences(*of)
        self.costs, self.accounting = Costs(*of), Accounting(*of)

    def chat(self, model: str, messages: list[dict[str, str]], **options: Any) -> Iterator[chat.Piece]:
        """A streamed chat with a deployment; `options` as in OpenAI's API. The last piece has the completion's id."""
        return chat.stream(self.config, model, messages, **options)

    def events(self) -> Iterator[dict[str, Any]]:
        """The platform's facts as they happen: `type`, `subject`, `time`, `data`. Ends only with the connection."""
        for event in self._transport.events("/events"):
            yield event.data

    def summary(self) -> dict[str, Any]:
        """Counts of everything in the project, and what it has cost."""
        return self._transport.call("GET", f"/projects/{self.config.project}/summary")

    def whoami(self) -> dict[str, Any]:
        """Identity and role of the key, and the projects that it opens."""
        return self._transport.call("GET", "/session")

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
