import type { PromptVersion } from "@/api/types";

export interface Line {
  kind: "same" | "added" | "removed";
  text: string;
}

/** Cells of the table of common lines; a change that needs more is shown as all old lines and all new ones. */
const MOST_CELLS = 4_000_000;

/** What made the lines of `before` those of `after`: as few lines removed and added as there can be. */
export function diffLines(before: readonly string[], after: readonly string[]): Line[] {
  const least = Math.min(before.length, after.length);
  let head = 0;
  while (head < least && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < least - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  return [
    ...before.slice(0, head).map(as("same")),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(as("same")),
  ];
}

function middle(before: readonly string[], after: readonly string[]): Line[] {
  if ((before.length + 1) * (after.length + 1) > MOST_CELLS)
    return [...before.map(as("removed")), ...after.map(as("added"))];
  const common = commonLines(before, after);
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      lines.push({ kind: "same", text: before[i] ?? "" });
      i++;
      j++;
    } else if (j === after.length || (i < before.length && common(i + 1, j) >= common(i, j + 1))) {
      lines.push({ kind: "removed", text: before[i++] ?? "" });
    } else {
      lines.push({ kind: "added", text: after[j++] ?? "" });
    }
  }
  return lines;
}

/** How many lines, in order, `before` from `i` on and `after` from `j` on have in common. */
function commonLines(before: readonly string[], after: readonly string[]): (i: number, j: number) => number {
  const width = after.length + 1;
  const cells = new Uint32Array((before.length + 1) * width);
  const at = (i: number, j: number) => cells[i * width + j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      cells[i * width + j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  return at;
}

function as(kind: Line["kind"]): (text: string) => Line {
  return (text) => ({ kind, text });
}

/** All that makes a version what it is, line by line: who speaks, what is said, parameters. `role`: a role in words. */
export function linesOf(
  version: Pick<PromptVersion, "messages" | "parameters_json">,
  role: (role: string) => string,
): string[] {
  const turns = version.messages.flatMap((turn) => [`[${role(turn.role)}]`, ...turn.content.split("\n")]);
  return [...turns, ...(parametersText(version) ? parametersText(version).split("\n") : [])];
}

/** The parameters as people read JSON; empty where there are none. */
export function parametersText({ parameters_json }: Pick<PromptVersion, "parameters_json">): string {
  const parameters: unknown = JSON.parse(parameters_json || "{}");
  return Object.keys(parameters as object).length ? JSON.stringify(parameters, null, 2) : "";
}

/** A text cut at its variables: every second piece is the name of one. */
export function piecesOf(text: string): string[] {
  return text.split(/\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,63})\s*\}\}/);
}
