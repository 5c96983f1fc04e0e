import { datasets } from "./datasets";
import { evaluations } from "./evaluations";
import { feedback } from "./feedback";
import { home } from "./home";
import { models } from "./models";
import { operate } from "./operate";
import { pipelines } from "./pipelines";
import { reasons } from "./reasons";
import { runs } from "./runs";
import { serving } from "./serving";
import { shell } from "./shell";
import { transfer } from "./transfer";
import { words } from "./words";

export const zh = {
  ...datasets,
  ...evaluations,
  ...feedback,
  ...home,
  ...models,
  ...operate,
  ...pipelines,
  ...reasons,
  ...runs,
  ...serving,
  ...shell,
  ...transfer,
  ...words,
};
