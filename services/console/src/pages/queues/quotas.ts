import { lastPart } from "@/api/names";
import type { ClusterQueue, Cohort, FlavorQuota, Node, Queue, Resources } from "@/api/types";

export const KINDS = ["gpu", "cpu_milli", "memory_bytes"] as const;
export type Kind = (typeof KINDS)[number];

/** One amount of one flavor; in thousandths of a core, bytes or cards. `lent` is shared out, see `bars`. */
export interface Bar {
  flavor: string;
  kind: Kind;
  nominal: number;
  used: number;
  borrowed: number;
  lent: number;
  /** What the whole width stands for: the largest amount of this flavor and kind in the same tree. */
  of: number;
}

export interface Branch {
  /** Null: the queues that are in no cohort. */
  cohort: Cohort | null;
  branches: Branch[];
  queues: ClusterQueue[];
}

/** Cohorts as they are in one another; the queues that are in none come last. */
export function treeOf(queues: readonly ClusterQueue[], cohorts: readonly Cohort[]): Branch[] {
  const known = new Set(cohorts.map((one) => one.name));
  const below = (parent: string): Branch[] =>
    cohorts
      .filter((one) => (known.has(one.parent) ? one.parent : "") === parent)
      .map((cohort) => ({
        cohort,
        branches: below(cohort.name),
        queues: queues.filter((queue) => queue.cohort === cohort.name),
      }));
  const alone = queues.filter((queue) => !known.has(queue.cohort));
  const roots = below("");
  return alone.length ? [...roots, { cohort: null, branches: [], queues: alone }] : roots;
}

/** Cluster queue → what the project's queues are called that point to it. */
export function doorsOf(queues: readonly Queue[]): Map<string, string[]> {
  const doors = new Map<string, string[]>();
  for (const one of queues) {
    const name = one.display_name || lastPart(one.name);
    doors.set(one.cluster_queue, [...(doors.get(one.cluster_queue) ?? []), name]);
  }
  return doors;
}

/**
 * The bars of everything in one tree, by name. Who borrows is known, from whom is not: what all borrow is shared out
 * among those that leave something unused, by how much of it they may lend.
 */
export function bars(root: Branch): Map<string, Bar[]> {
  const members = membersOf(root);
  const found = new Map<string, Bar[]>(members.map((one) => [one.name, []]));
  for (const cell of cellsOf(members)) {
    const rows = members.flatMap((one) => {
      const quota = one.quotas.find((each) => each.flavor === cell.flavor);
      return quota ? [{ name: one.name, ...amounts(quota, cell.kind, one.isCohort) }] : [];
    });
    const borrowed = sum(rows.map((row) => row.borrowed));
    const unused = sum(rows.map((row) => row.lendable));
    const of = Math.max(...rows.map((row) => Math.max(row.nominal, row.used)));
    for (const { name, lendable, ...row } of rows) {
      const lent = root.cohort && unused ? Math.min(lendable, (borrowed * lendable) / unused) : 0;
      found.get(name)?.push({ ...cell, ...row, lent, of });
    }
  }
  return found;
}

interface Member {
  name: string;
  quotas: readonly FlavorQuota[];
  isCohort: boolean;
}

function membersOf(branch: Branch): Member[] {
  const own = branch.cohort ? [{ ...branch.cohort, isCohort: true }] : [];
  const queues = branch.queues.map((queue) => ({ ...queue, isCohort: false }));
  return [...own, ...queues, ...branch.branches.flatMap(membersOf)];
}

function cellsOf(members: readonly Member[]): { flavor: string; kind: Kind }[] {
  const flavors = [...new Set(members.flatMap((one) => one.quotas.map((quota) => quota.flavor)))].sort();
  const quotas = members.flatMap((one) => one.quotas);
  return flavors.flatMap((flavor) =>
    KINDS.filter((kind) =>
      quotas.some((quota) => quota.flavor === flavor && amount(quota.nominal, kind) + amount(quota.used, kind) > 0),
    ).map((kind) => ({ flavor, kind })),
  );
}

/** Of a cohort, `used` counts what its members use of all: of its own, nobody knows how much. */
function amounts(quota: FlavorQuota, kind: Kind, isCohort: boolean) {
  const nominal = amount(quota.nominal, kind);
  const used = isCohort ? 0 : amount(quota.used, kind);
  const limit = quota.lending_limit ? amount(quota.lending_limit, kind) : nominal;
  return {
    nominal,
    used,
    borrowed: Math.max(0, used - nominal),
    lendable: Math.max(0, Math.min(nominal - used, limit)),
  };
}

/** Cards with their thousandths. */
export function amount(resources: Resources | null | undefined, kind: Kind): number {
  if (!resources) return 0;
  return kind === "gpu" ? resources.gpu + resources.gpu_milli / 1000 : Number(resources[kind]);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** A row of the form: in cores, gigabytes and cards, as people write them. */
export interface QuotaValues {
  flavor: string;
  nominal: AmountValues;
  borrowing?: AmountValues | null;
  lending?: AmountValues | null;
  limitBorrowing: boolean;
  limitLending: boolean;
}

export interface AmountValues {
  cores?: number | null;
  gigabytes?: number | null;
  cards?: number | null;
}

const GB = 1e9;

export function valuesOf(quotas: readonly FlavorQuota[]): QuotaValues[] {
  return quotas.map((quota) => ({
    flavor: quota.flavor,
    nominal: amountValues(quota.nominal),
    borrowing: quota.borrowing_limit && amountValues(quota.borrowing_limit),
    lending: quota.lending_limit && amountValues(quota.lending_limit),
    limitBorrowing: quota.borrowing_limit != null,
    limitLending: quota.lending_limit != null,
  }));
}

/** As REST takes them; a limit that is not wanted is left out. */
export function bodyOf(rows: readonly QuotaValues[] = []): object[] {
  return rows.map((row) => ({
    flavor: row.flavor,
    nominal: resourcesOf(row.nominal),
    ...(row.limitBorrowing && { borrowing_limit: resourcesOf(row.borrowing ?? {}) }),
    ...(row.limitLending && { lending_limit: resourcesOf(row.lending ?? {}) }),
  }));
}

/** One amount that is used beyond what a form would leave; in thousandths of a core, bytes or cards. */
export interface Excess {
  flavor: string;
  kind: Kind;
  used: number;
  nominal: number;
  /** Beyond what it could borrow at most, too; null where that is not limited. */
  borrowing: number | null;
}

/** What is used beyond the quotas of the form. Without any quota nothing is: then it may use all that there is. */
export function excessOf(before: readonly FlavorQuota[], rows: readonly QuotaValues[] = []): Excess[] {
  if (rows.length === 0) return [];
  return before.flatMap(({ flavor, used }) => {
    const row = rows.find((one) => one?.flavor === flavor);
    return KINDS.flatMap((kind) => {
      const nominal = row ? written(row.nominal, kind) : 0;
      const borrowing = row?.limitBorrowing ? written(row.borrowing ?? {}, kind) : null;
      const held = amount(used, kind);
      return held > nominal ? [{ flavor, kind, used: held, nominal, borrowing }] : [];
    });
  });
}

/** What all nodes of each flavor have together, as the scheduler counts it: those that are away aside. */
export function capacityOf(nodes: readonly Node[]): Map<string, AmountValues> {
  const total = new Map<string, AmountValues>();
  for (const node of nodes) {
    if (["STATE_LOST", "STATE_GONE"].includes(node.state)) continue;
    const before = total.get(node.flavor);
    const has = amountValues(node.capacity);
    total.set(node.flavor, {
      cores: (before?.cores ?? 0) + (has.cores ?? 0),
      gigabytes: (before?.gigabytes ?? 0) + (has.gigabytes ?? 0),
      cards: (before?.cards ?? 0) + (has.cards ?? 0),
    });
  }
  return total;
}

function written(values: AmountValues, kind: Kind): number {
  const { cards, cores, gigabytes } = values;
  return { gpu: cards ?? 0, cpu_milli: (cores ?? 0) * 1000, memory_bytes: (gigabytes ?? 0) * GB }[kind];
}

function amountValues(resources?: Resources | null): AmountValues {
  return {
    cores: (resources?.cpu_milli ?? 0) / 1000,
    gigabytes: Number(resources?.memory_bytes ?? 0) / GB,
    cards: resources?.gpu ?? 0,
  };
}

function resourcesOf(values: AmountValues): object {
  return {
    cpu_milli: Math.round((values.cores ?? 0) * 1000),
    memory_bytes: String(Math.round((values.gigabytes ?? 0) * GB)),
    gpu: values.cards ?? 0,
  };
}
