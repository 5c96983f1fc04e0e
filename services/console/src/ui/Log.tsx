import { useQuery } from "@tanstack/react-query";
import { Skeleton } from "antd";
import { useEffect, useRef } from "react";
import { getText } from "@/api/client";
import { queryKey } from "@/api/queries";
import { useI18n } from "@/i18n";
import { Panel } from "./Page";
import { Trouble } from "./Trouble";

const LINES = 400;
/** Pixels from the end within which a reader counts as being at it. */
const END_SLACK = 24;
/** Milliseconds between looks at a log that still grows. */
const POLL = 2500;

/** The end of a log; follows what is added as long as nobody has scrolled away from the end. */
export function Log({ path, available, live }: { path: string; available: boolean; live: boolean }) {
  const { t } = useI18n();
  const end = useRef<HTMLPreElement>(null);
  const following = useRef(true);
  const params = { tail_lines: LINES };
  const log = useQuery({
    queryKey: [...queryKey(path, params), "text"],
    queryFn: ({ signal }) => getText(path, params, signal),
    enabled: available,
    refetchInterval: live && POLL,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: scrolls after each new text
  useEffect(() => {
    if (end.current && following.current) end.current.scrollTop = end.current.scrollHeight;
  }, [log.data]);

  return (
    <Panel title={t("log.title")} flush>
      {!available ? (
        <div className="panel-body quiet">{t("log.none")}</div>
      ) : log.isPending ? (
        <div className="panel-body">
          <Skeleton active title={false} />
        </div>
      ) : log.isError ? (
        <div className="panel-body">
          <Trouble error={log.error} retry={() => log.refetch()} />
        </div>
      ) : (
        <pre
          ref={end}
          className="log"
          lang="en"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
          tabIndex={0}
          onScroll={({ currentTarget: pre }) => {
            following.current = pre.scrollTop + pre.clientHeight > pre.scrollHeight - END_SLACK;
          }}
        >
          {log.data || t("log.empty")}
        </pre>
      )}
    </Panel>
  );
}
