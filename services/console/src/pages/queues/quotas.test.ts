import { expect, test } from "vitest";
import type { ClusterQueue, Cohort, FlavorQuota, Node } from "@/api/types";
import { bars, bodyOf, capacityOf, excessOf, treeOf, valuesOf } from "./quotas";

function cards(nominal: number, used: number, lends?: number): FlavorQuota {
  const of = (gpu: number) => ({ cpu_milli: 0, memory_bytes: "0", gpu, gpu_milli: 0 });
  return {
    flavor: "flavors/a",
    nominal: of(nominal),
    used: of(used),
    lending_limit: lends === undefined ? null : of(lends),
  };
}

function queue(id: string, cohort: string, quotas: FlavorQuota[]): ClusterQueue {
  return { name: `clusterQueues/${id}`, cohort: cohort && `cohorts/${cohort}`, quotas } as ClusterQueue;
}

function cohort(id: string, parent = "", quotas: FlavorQuota[] = []): Cohort {
  return { name: `cohorts/${id}`, parent: parent && `cohorts/${parent}`, quotas } as Cohort;
}

test("cohorts stand in one another and queues without one come last", () => {
  const [all, alone] = treeOf([queue("one", "labs", []), queue("two", "", [])], [cohort("labs", "all"), cohort("all")]);
  expect(all?.cohort?.name).toBe("cohorts/all");
  expect(all?.branches[0]?.queues.map((one) => one.name)).toEqual(["clusterQueues/one"]);
  expect(alone).toMatchObject({ cohort: null, queues: [{ name: "clusterQueues/two" }] });
});

test("what one borrows the other has lent", () => {
  const [root] = treeOf(
    [queue("taker", "labs", [cards(2, 3)]), queue("giver", "labs", [cards(2, 0)])],
    [cohort("labs")],
  );
  const found = bars(root as NonNullable<typeof root>);
  expect(found.get("clusterQueues/taker")).toEqual([
    { flavor: "flavors/a", kind: "gpu", nominal: 2, used: 3, borrowed: 1, lent: 0, of: 3 },
  ]);
  expect(found.get("clusterQueues/giver")?.[0]).toMatchObject({ used: 0, borrowed: 0, lent: 1, of: 3 });
});

test("what is borrowed is shared out by what others leave, within their lending limits", () => {
  const given = [
    queue("taker", "labs", [cards(0, 4)]),
    queue("large", "labs", [cards(6, 0)]),
    queue("bound", "labs", [cards(6, 0, 2)]),
    queue("closed", "labs", [cards(6, 0, 0)]),
  ];
  const [root] = treeOf(given, [cohort("labs")]);
  const found = bars(root as NonNullable<typeof root>);
  expect(["large", "bound", "closed"].map((id) => found.get(`clusterQueues/${id}`)?.[0]?.lent)).toEqual([3, 1, 0]);
});

test("a cohort's own quota is lent like that of a member", () => {
  const [root] = treeOf([queue("taker", "labs", [cards(0, 2)])], [cohort("labs", "", [cards(4, 2)])]);
  expect(bars(root as NonNullable<typeof root>).get("cohorts/labs")?.[0]).toMatchObject({ used: 0, lent: 2 });
});

test("a queue in no cohort lends nothing, however much others use", () => {
  const [root] = treeOf([queue("one", "", [cards(2, 3)]), queue("two", "", [cards(2, 0)])], []);
  expect(bars(root as NonNullable<typeof root>).get("clusterQueues/two")?.[0]?.lent).toBe(0);
});

test("a form sends back what it was given, and no limit that nobody set", () => {
  const given = [cards(2, 1, 1)];
  expect(bodyOf(valuesOf(given))).toEqual([
    {
      flavor: "flavors/a",
      nominal: { cpu_milli: 0, memory_bytes: "0", gpu: 2 },
      lending_limit: { cpu_milli: 0, memory_bytes: "0", gpu: 1 },
    },
  ]);
});

test("what is used beyond the form's quotas is told, also of a flavor that the form takes away", () => {
  const before = [cards(4, 3)];
  expect(excessOf(before, valuesOf(before))).toEqual([]);
  const over = { flavor: "flavors/a", kind: "gpu", used: 3, nominal: 1, borrowing: null };
  expect(excessOf(before, valuesOf([cards(1, 0)]))).toEqual([over]);
  const [row] = valuesOf([cards(1, 0)]);
  const bound = { ...row, limitBorrowing: true, borrowing: { cards: 1 } } as NonNullable<typeof row>;
  expect(excessOf(before, [bound])).toEqual([{ ...over, borrowing: 1 }]);
  expect(excessOf(before, valuesOf([{ ...cards(9, 0), flavor: "flavors/b" }]))).toEqual([{ ...over, nominal: 0 }]);
  expect(excessOf(before, [])).toEqual([]);
});

test("what nodes have is added up by flavor, those that are away aside", () => {
  const node = (state: string, gpu: number) =>
    ({
      state,
      flavor: "flavors/a",
      capacity: { cpu_milli: 1500, memory_bytes: "2000000000", gpu, gpu_milli: 0 },
    }) as Node;
  const found = capacityOf([node("STATE_READY", 4), node("STATE_CORDONED", 2), node("STATE_LOST", 8)]);
  expect(found.get("flavors/a")).toEqual({ cores: 3, gigabytes: 4, cards: 6 });
});
