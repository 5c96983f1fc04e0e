import { expect, test } from "vitest";
import { flat, settingsOf } from "./settings";

const SCHEMA = {
  type: "object",
  properties: {
    epochs: { type: "number", default: 1, exclusiveMinimum: 0, title: "Passes", "x-zh": { title: "轮数" } },
    own: {
      type: "object",
      properties: {
        kl_target: { type: "number", title: "KL target", description: "In nats.", "x-zh": { title: "KL 目标值" } },
      },
    },
  },
};

test("settings are listed in the reader's language, each with its place", () => {
  const [epochs, target] = settingsOf(SCHEMA, false);
  expect(epochs).toMatchObject({ path: ["epochs"], title: "Passes", exclusiveMinimum: 0 });
  expect(target).toMatchObject({ path: ["own", "kl_target"], title: "KL target", description: "In nats." });
  expect(settingsOf(SCHEMA, true)[1]).toMatchObject({ title: "KL 目标值", description: undefined });
  expect(settingsOf(undefined, true)).toEqual([]);
});

test("what a method alone knows lies beside the common settings, and what is unset is left out", () => {
  expect(flat({ epochs: 2, lora_rank: null, own: { kl_target: 6, kl_estimator: "k3" } })).toEqual({
    epochs: 2,
    kl_target: 6,
    kl_estimator: "k3",
  });
});
