import { bare, lastPart, shortName } from "@/api/names";
import type { Deployment, Target } from "@/api/types";

export interface Choice {
  /** As the OpenAI endpoint takes it. */
  value: string;
  label: string;
}

/** Everything that can be asked: each deployment by its split, and each version that it holds on to. */
export function choicesOf(deployments: readonly Deployment[]): Choice[] {
  return deployments.flatMap((deployment) => {
    const slug = lastPart(deployment.name);
    const versions = [...new Set(deployment.targets.filter(isThere).map(versionOf))].filter(Boolean).sort();
    return [
      { value: slug, label: deployment.display_name || slug },
      ...versions.map((version) => ({ value: `${slug}@${version}`, label: `${slug}@${version}` })),
    ];
  });
}

export function deploymentOf(deployments: readonly Deployment[], model: string): Deployment | undefined {
  return (
    deployments.find((one) => lastPart(one.name) === model) ??
    deployments.find((one) => model.startsWith(`${lastPart(one.name)}@`))
  );
}

/** The target that answered as `version`, or the only one there can have been. */
export function targetOf(deployment: Deployment | undefined, version: string): Target | undefined {
  const targets = deployment?.targets.filter(isThere) ?? [];
  return version ? targets.find((one) => versionOf(one) === version) : targets.length === 1 ? targets[0] : undefined;
}

/** What an answer cost, in millionths of a dollar; undefined where no price is known. */
export function costOf(target: Target | undefined, promptTokens: number, answerTokens: number): number | undefined {
  const [input, output] = [Number(target?.input_price_microusd ?? 0), Number(target?.output_price_microusd ?? 0)];
  return input || output ? (promptTokens * input + answerTokens * output) / 1e6 : undefined;
}

/** What stands behind a name, for people: the version, or the engine's own name for its model. */
export function servedBy(target: Target | undefined): string {
  if (!target) return "";
  return target.variant ? shortName(target.variant) : target.upstream_model;
}

function versionOf(target: Target): string {
  return target.model_version ? lastPart(target.model_version) : "";
}

function isThere(target: Target): boolean {
  return ["READY", "STANDBY", "STARTING"].includes(bare(target.state));
}
