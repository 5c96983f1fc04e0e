import { describe, expect, it } from "vitest";
import type { Deployment, Target } from "@/api/types";
import { addressOf, lanesOf, promptOf } from "./address";
import { choicesOf, costOf, targetOf } from "./models";
import { type Reply, type Round, toTurns } from "./useChat";
import { preferences } from "./usePick";

function reply(model: string, text: string, state: Reply["state"] = "done"): Reply {
  return { model, answer: { id: `projects/p/completions/${model}`, text }, state };
}

const round: Round = { id: 1, question: "Where?", replies: [reply("a", "Here."), reply("b", "There.")] };

describe("a link", () => {
  it("holds models and settings, and no text", () => {
    const lanes = [
      { model: "hotline", temperature: 0.5, max_tokens: 64, system: "You are kind." },
      { model: "hotline@2", temperature: 0.5, max_tokens: 128, system: "" },
    ];
    const address = addressOf(lanes);
    expect(address.toString()).toBe(
      "deployment=hotline&deployment=hotline%402&temperature=0.5&max_tokens=64&max_tokens=128",
    );
    expect(lanesOf(address)).toEqual(lanes.map((lane) => ({ ...lane, system: "" })));
  });

  it("holds which prompt was chosen, and its settings count for a model that it does not name", () => {
    const address = new URLSearchParams("prompt=triage&version=3&temperature=0.5");
    expect(promptOf(address)).toEqual({ id: "triage", version: "3" });
    const lanes = lanesOf(address, ["hotline"]);
    expect(lanes[0]?.temperature).toBe(0.5);
    expect(promptOf(addressOf(lanes, promptOf(address)))).toEqual({ id: "triage", version: "3" });
    expect(promptOf(addressOf(lanes))).toBeUndefined();
  });

  it("takes the default for a value that is out of bounds, and four models at most", () => {
    const lanes = lanesOf(
      new URLSearchParams("deployment=a&temperature=9&max_tokens=x".concat("&deployment=b".repeat(6))),
    );
    expect(lanes).toHaveLength(4);
    expect(lanes[0]).toEqual({ model: "a", temperature: 0, max_tokens: 256, system: "" });
  });
});

describe("a conversation with several models", () => {
  it("goes on with each model's own answer while none was picked", () => {
    expect(toTurns("", [round], 1, "And now?").map((turn) => turn.content)).toEqual(["Where?", "There.", "And now?"]);
  });

  it("goes on with the picked answer for all of them", () => {
    expect(toTurns("Be brief.", [{ ...round, picked: 0 }], 1, "And now?").map((turn) => turn.content)).toEqual([
      "Be brief.",
      "Where?",
      "Here.",
      "And now?",
    ]);
  });

  it("begins with the prompt where that alone was asked", () => {
    const first = { ...round, question: "", prompt: { id: "triage", version: "1", variables: {} } };
    expect(toTurns("", [first], 0, "").map((turn) => turn.role)).toEqual(["assistant"]);
    expect(toTurns("", [], 0, "")).toEqual([]);
  });

  it("leaves out a question that was not answered", () => {
    const broken = { ...round, replies: [reply("a", "He", "stopped")] };
    expect(toTurns("", [broken], 0, "Again?")).toHaveLength(1);
  });
});

describe("picking the better answer", () => {
  it("makes each other whole answer a rejected one with the picked text as chosen", () => {
    const four = { ...round, replies: [...round.replies, reply("c", "Here. "), reply("d", "No", "failed")] };
    expect(preferences(four, 0)).toEqual([
      { completion: "projects/p/completions/a", rating: "RATING_THUMBS_UP" },
      { completion: "projects/p/completions/b", rating: "RATING_THUMBS_DOWN", correction: "Here." },
    ]);
  });
});

describe("models", () => {
  const target = (version: string, price: string, state = "STATE_READY") =>
    ({
      model_version: version && `projects/p/models/m/versions/${version}`,
      input_price_microusd: price,
      output_price_microusd: price,
      state,
    }) as Target;
  const hotline = {
    name: "projects/p/deployments/hotline",
    targets: [target("2", "1000000"), target("1", "0"), target("3", "0", "STATE_FAILED")],
  } as Deployment;

  it("are each deployment and each version that it holds on to", () => {
    expect(choicesOf([hotline]).map((one) => one.value)).toEqual(["hotline", "hotline@1", "hotline@2"]);
  });

  it("cost what the version that answered costs, and nothing is said where no price is known", () => {
    expect(costOf(targetOf(hotline, "2"), 10, 5)).toBe(15);
    expect(costOf(targetOf(hotline, "1"), 10, 5)).toBeUndefined();
    expect(costOf(targetOf(hotline, ""), 10, 5)).toBeUndefined();
  });
});
