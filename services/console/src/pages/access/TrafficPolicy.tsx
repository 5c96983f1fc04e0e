import { Button, Select, Skeleton } from "antd";
import { useState } from "react";
import { patch } from "@/api/client";
import { bare } from "@/api/names";
import { useChange, useGet, useMay, useProject } from "@/api/queries";
import type { TrafficPolicy as Policy } from "@/api/types";
import { useI18n } from "@/i18n";
import { Facts, Panel } from "@/ui/Page";
import { Trouble } from "@/ui/Trouble";
import { useConfirm } from "@/ui/useConfirm";
import { Findings } from "./Findings";
import { CacheDrawer, HookDrawer } from "./TrafficDrawers";

type Field = "prompt_data" | "answer_data" | "injection";
const ACTIONS: Record<Field, readonly string[]> = {
  prompt_data: ["ACTION_ALLOW", "ACTION_MARK", "ACTION_REFUSE"],
  answer_data: ["ACTION_ALLOW", "ACTION_MARK"],
  injection: ["ACTION_ALLOW", "ACTION_FLAG", "ACTION_REFUSE"],
};

const NO_HOOK: NonNullable<Policy["hook"]> = { url: "", region: "", fails_open: false, before: false, after: false };
const NO_CACHE: NonNullable<Policy["cache"]> = { mode: "MODE_OFF", deployments: [], billed: false };

/** Guardrails and the exact cache: what becomes of what is found, who else is asked, what is given again. */
export function TrafficPolicy() {
  const { t } = useI18n();
  const project = useProject();
  const policy = useGet<Policy>(`/projects/${project}/traffic-policy`);
  return (
    <Panel title={t("guard.title")}>
      {policy.isPending ? (
        <Skeleton active title={false} />
      ) : policy.isError ? (
        <Trouble error={policy.error} retry={() => policy.refetch()} />
      ) : (
        <div className="stack">
          <Settings policy={policy.data} path={`/projects/${project}/traffic-policy`} />
          <Findings />
        </div>
      )}
    </Panel>
  );
}

function Settings({ policy, path }: { policy: Policy; path: string }) {
  const { t, word } = useI18n();
  const isAdmin = useMay("ADMIN");
  const confirm = useConfirm();
  const [open, setOpen] = useState<"hook" | "cache" | null>(null);
  const change = useChange(["inference_gateway"], (changes: Partial<Policy>) =>
    patch<Policy>(path, { ...changes, etag: policy.etag }),
  );
  const ask = (what: string, action: string, changes: Partial<Policy>) =>
    confirm({
      title: t("guard.changeTitle", { what, action: word("guardAction", action) }),
      hint: word("guardHint", action),
      confirm: t("fallback.change"),
      danger: action === "ALLOW" || action === "OFF",
      done: t("guard.changed", { what }),
      act: () => change.mutateAsync(changes),
    });
  const select = (field: Field) => (
    <Select
      aria-label={t(`guard.${field}`)}
      style={{ width: "100%" }}
      disabled={!isAdmin}
      loading={change.isPending}
      value={policy[field] as string}
      onChange={(action) => ask(t(`guard.${field}`), bare(action), { [field]: action } as Partial<Policy>)}
      options={ACTIONS[field].map((action) => ({ value: action, label: word("guardAction", bare(action)) }))}
    />
  );
  const edit = (what: "hook" | "cache", said: string, isOn: boolean, off: Partial<Policy>) => (
    <div className="row wrap" style={{ justifyContent: "flex-end" }}>
      <span className="grow">{said}</span>
      {isAdmin && (
        <>
          {isOn && (
            <Button
              size="small"
              aria-label={t("guard.turnOffThis", { what: t(`guard.${what}`) })}
              onClick={() => ask(t(`guard.${what}`), "OFF", off)}
            >
              {t("guard.turnOff")}
            </Button>
          )}
          <Button
            size="small"
            aria-label={t("guard.changeThis", { what: t(`guard.${what}`) })}
            onClick={() => setOpen(what)}
          >
            {t("fallback.change")}
          </Button>
        </>
      )}
    </div>
  );
  const { hook, cache } = policy;
  const mode = cache?.mode ?? "MODE_OFF";
  return (
    <div className="stack-s">
      <p className="quiet">{t("guard.hint")}</p>
      <Facts
        list
        rows={[
          [t("guard.prompt_data"), select("prompt_data")],
          [t("guard.answer_data"), select("answer_data")],
          [t("guard.injection"), select("injection")],
          [t("guard.hook"), edit("hook", hook?.url || t("guard.none"), Boolean(hook?.url), { hook: { ...NO_HOOK } })],
          [
            t("guard.cache"),
            edit("cache", word("cacheMode", bare(mode)), bare(mode) !== "OFF", { cache: { ...NO_CACHE } }),
          ],
        ]}
      />
      <HookDrawer policy={policy} open={open === "hook"} onSave={change.mutateAsync} onClose={() => setOpen(null)} />
      <CacheDrawer policy={policy} open={open === "cache"} onSave={change.mutateAsync} onClose={() => setOpen(null)} />
    </div>
  );
}
