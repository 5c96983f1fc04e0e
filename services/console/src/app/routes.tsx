import { type ComponentType, lazy, Suspense } from "react";
import { createBrowserRouter, Navigate } from "react-router";
import { SignIn } from "@/pages/signin/SignIn";
import { Crashed, NotFound } from "./Fallbacks";
import { Gate, ToFirstProject } from "./Gate";
import { PageSkeleton } from "./PageSkeleton";
import { Shell } from "./Shell";

/** A page of its own chunk. */
function page<Name extends string>(load: () => Promise<Record<Name, ComponentType>>, name: Name) {
  const Page = lazy(async (): Promise<{ default: ComponentType }> => ({ default: (await load())[name] }));
  return (
    <Suspense fallback={<PageSkeleton />}>
      <Page />
    </Suspense>
  );
}

export const router = createBrowserRouter([
  { path: "/sign-in", element: <SignIn />, errorElement: <Crashed /> },
  {
    element: <Gate />,
    errorElement: <Crashed />,
    children: [
      { path: "/", element: <ToFirstProject /> },
      {
        path: "/p/:project",
        element: <Shell />,
        children: [
          {
            errorElement: <Crashed />,
            children: [
              { index: true, element: page(() => import("@/pages/home/Home"), "Home") },
              { path: "datasets", element: page(() => import("@/pages/datasets/Datasets"), "Datasets") },
              { path: "datasets/:id", element: page(() => import("@/pages/datasets/DatasetDetail"), "DatasetDetail") },
              { path: "runs", element: page(() => import("@/pages/runs/Runs"), "Runs") },
              { path: "runs/compare", element: page(() => import("@/pages/runs/CompareRuns"), "CompareRuns") },
              { path: "runs/:id", element: page(() => import("@/pages/runs/RunDetail"), "RunDetail") },
              { path: "pipelines", element: page(() => import("@/pages/pipelines/Pipelines"), "Pipelines") },
              {
                path: "pipelines/:id",
                element: page(() => import("@/pages/pipelines/PipelineDetail"), "PipelineDetail"),
              },
              { path: "models", element: page(() => import("@/pages/models/Models"), "Models") },
              { path: "fit", element: page(() => import("@/pages/models/Fit"), "Fit") },
              { path: "models/:id", element: page(() => import("@/pages/models/ModelDetail"), "ModelDetail") },
              { path: "playground", element: page(() => import("@/pages/playground/Playground"), "Playground") },
              { path: "evaluations", element: page(() => import("@/pages/evaluations/Evaluations"), "Evaluations") },
              {
                path: "evaluations/:id",
                element: page(() => import("@/pages/evaluations/EvaluationDetail"), "EvaluationDetail"),
              },
              { path: "feedback", element: page(() => import("@/pages/feedback/FeedbackReview"), "FeedbackReview") },
              { path: "deployments", element: page(() => import("@/pages/deployments/Deployments"), "Deployments") },
              { path: "prompts", element: page(() => import("@/pages/prompts/Prompts"), "Prompts") },
              { path: "prompts/:id", element: page(() => import("@/pages/prompts/PromptDetail"), "PromptDetail") },
              { path: "traces", element: page(() => import("@/pages/traces/Traces"), "Traces") },
              { path: "traces/:id", element: page(() => import("@/pages/traces/TraceDetail"), "TraceDetail") },
              { path: "batches", element: page(() => import("@/pages/batches/Batches"), "Batches") },
              { path: "queue", element: page(() => import("@/pages/queue/QueueAndCards"), "QueueAndCards") },
              { path: "queues", element: page(() => import("@/pages/queues/QueuesAndQuotas"), "QueuesAndQuotas") },
              {
                path: "workloads/:id",
                element: page(() => import("@/pages/workloads/WorkloadDetail"), "WorkloadDetail"),
              },
              { path: "cluster", element: page(() => import("@/pages/cluster/Cluster"), "Cluster") },
              { path: "showback", element: page(() => import("@/pages/showback/Showback"), "Showback") },
              { path: "what-if", element: page(() => import("@/pages/whatif/WhatIf"), "WhatIf") },
              { path: "access", element: page(() => import("@/pages/access/Access"), "Access") },
              { path: "costs", element: page(() => import("@/pages/costs/Costs"), "Costs") },
              { path: "audit", element: page(() => import("@/pages/audit/Audit"), "Audit") },
              { path: "home", element: <Navigate to=".." relative="path" replace /> },
              { path: "*", element: <NotFound /> },
            ],
          },
        ],
      },
      { path: "*", element: <NotFound /> },
    ],
  },
]);
