import { adapters } from "./adapters";
import { capacity } from "./capacity";
import { costs } from "./costs";
import { datasets } from "./datasets";
import { evaluations } from "./evaluations";
import { feedback } from "./feedback";
import { guardrails } from "./guardrails";
import { home } from "./home";
import { inference } from "./inference";
import { models } from "./models";
import { operate } from "./operate";
import { pipelines } from "./pipelines";
import { prompts } from "./prompts";
import { queues } from "./queues";
import { reasons } from "./reasons";
import { runs } from "./runs";
import { serving } from "./serving";
import { shell } from "./shell";
import { traces } from "./traces";
import { traffic } from "./traffic";
import { transfer } from "./transfer";
import { whatif } from "./whatif";
import { words } from "./words";

export const zh = {
  ...adapters,
  ...capacity,
  ...costs,
  ...datasets,
  ...evaluations,
  ...feedback,
  ...guardrails,
  ...home,
  ...inference,
  ...models,
  ...operate,
  ...pipelines,
  ...prompts,
  ...queues,
  ...reasons,
  ...runs,
  ...serving,
  ...shell,
  ...traces,
  ...traffic,
  ...transfer,
  ...whatif,
  ...words,
};
