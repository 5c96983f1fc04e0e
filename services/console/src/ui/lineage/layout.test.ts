import { expect, test } from "vitest";
import type { Lineage } from "@/api/types";
import { layOut } from "./layout";

function lineage(names: string[], edges: [string, string][]): Lineage {
  return {
    nodes: names.map((name) => ({ name, kind: "run", display_name: "", digest: "", count: "0", list_path: "" })),
    edges: edges.map(([source, target]) => ({ source, target, relation: "made_by", weight_percent: 0 })),
    truncated: false,
  };
}

const columns = (given: Lineage) => {
  const laid = layOut(given);
  const xs = [...new Set(laid.nodes.map((node) => node.x))].sort((a, b) => a - b);
  return Object.fromEntries(laid.nodes.map((node) => [node.name, xs.indexOf(node.x)]));
};

test("everything stands right of all that it comes from", () => {
  expect(
    columns(
      lineage(
        ["data", "base", "run", "model"],
        [
          ["data", "run"],
          ["base", "run"],
          ["run", "model"],
          ["data", "model"],
        ],
      ),
    ),
  ).toEqual({ data: 0, base: 0, run: 1, model: 2 });
});

test("a loop is drawn, not followed for ever", () => {
  expect(
    layOut(
      lineage(
        ["a", "b"],
        [
          ["a", "b"],
          ["b", "a"],
        ],
      ),
    ).nodes,
  ).toHaveLength(2);
});

test("an edge to something that is not shown is left out", () => {
  expect(layOut(lineage(["a"], [["a", "gone"]])).edges).toEqual([]);
});

test("no two nodes lie on one another", () => {
  const { nodes } = layOut(
    lineage(
      ["a", "b", "c", "d"],
      [
        ["a", "d"],
        ["b", "d"],
      ],
    ),
  );
  expect(new Set(nodes.map((node) => `${node.x} ${node.y}`)).size).toBe(4);
});
