import { expect, test } from "vitest";
import { cells } from "./Card";

test("a line of a table is its cells, without the marks of code and links", () => {
  expect(cells("| non commercial | [CC-BY-NC-4.0](https://x) | `projects/p/models/m/versions/1` | a \\| b |")).toEqual([
    "non commercial",
    "CC-BY-NC-4.0",
    "projects/p/models/m/versions/1",
    "a | b",
  ]);
});
