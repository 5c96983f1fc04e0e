import type { Lineage, LineageEdge, LineageNode } from "@/api/types";

export interface Placed extends LineageNode {
  x: number;
  y: number;
}

export interface Laid {
  nodes: Placed[];
  edges: (LineageEdge & { from: Placed; to: Placed })[];
  width: number;
  height: number;
}

export const NODE = { width: 178, height: 46 } as const;
const GAP = { x: 56, y: 14 } as const;

/**
 * Sets a lineage out from left to right: each node stands one column right of the rightmost that it comes from, and
 * within its column beside its sources, so that lines cross little.
 */
export function layOut(lineage: Lineage): Laid {
  const known = new Set(lineage.nodes.map((node) => node.name));
  const edges = lineage.edges.filter((edge) => known.has(edge.source) && known.has(edge.target));
  const columns = byColumn(lineage.nodes, depths(lineage.nodes, edges));
  const placed = new Map<string, Placed>();
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const height = tallest * (NODE.height + GAP.y) - GAP.y;

  columns.forEach((column, x) => {
    const sorted = [...column].sort(
      (a, b) => wish(a, edges, placed) - wish(b, edges, placed) || a.name.localeCompare(b.name),
    );
    const top = (height - (sorted.length * (NODE.height + GAP.y) - GAP.y)) / 2;
    sorted.forEach((node, y) => {
      placed.set(node.name, { ...node, x: x * (NODE.width + GAP.x), y: top + y * (NODE.height + GAP.y) });
    });
  });
  return {
    nodes: [...placed.values()],
    edges: edges.flatMap((edge) => {
      const from = placed.get(edge.source);
      const to = placed.get(edge.target);
      return from && to ? [{ ...edge, from, to }] : [];
    }),
    width: Math.max(1, columns.length) * (NODE.width + GAP.x) - GAP.x,
    height,
  };
}

/** Longest way from a node without sources; as many rounds as there are nodes, so that a loop cannot hang it. */
function depths(nodes: readonly LineageNode[], edges: readonly LineageEdge[]): Map<string, number> {
  const depth = new Map(nodes.map((node) => [node.name, 0]));
  for (let round = 0; round < nodes.length; round++) {
    let moved = false;
    for (const { source, target } of edges) {
      const least = Math.min((depth.get(source) ?? 0) + 1, nodes.length - 1);
      if ((depth.get(target) ?? 0) >= least) continue;
      depth.set(target, least);
      moved = true;
    }
    if (!moved) break;
  }
  return depth;
}

function byColumn(nodes: readonly LineageNode[], depth: ReadonlyMap<string, number>): LineageNode[][] {
  const columns: LineageNode[][] = [];
  for (const node of nodes) {
    const column = depth.get(node.name) ?? 0;
    columns[column] = [...(columns[column] ?? []), node];
  }
  return columns.filter(Boolean);
}

/** Mean height of a node's sources. */
function wish(node: LineageNode, edges: readonly LineageEdge[], placed: ReadonlyMap<string, Placed>): number {
  const heights = edges.filter((edge) => edge.target === node.name).flatMap((edge) => placed.get(edge.source)?.y ?? []);
  return heights.length ? heights.reduce((sum, y) => sum + y, 0) / heights.length : 0;
}
