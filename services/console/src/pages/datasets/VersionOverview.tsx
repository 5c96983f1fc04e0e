import { bare } from "@/api/names";
import type { DatasetVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { Digest, Ref } from "@/ui/Id";
import { Facts, Panel } from "@/ui/Page";
import { isOpen, State } from "@/ui/State";
import { Terms } from "@/ui/Terms";
import { Failure } from "@/ui/Trouble";
import { Bytes, Nothing, Num, Time } from "@/ui/values";
import { Profile } from "./Profile";

export function VersionOverview({ version }: { version: DatasetVersion }) {
  const { t, word } = useI18n();
  return (
    <div className="stack">
      {isOpen(version.state) && (
        <Panel>
          <State value={version.state} /> <span className="second">{t("dataset.importing")}</span>
        </Panel>
      )}
      <Failure reason={version.failure_reason} message={version.failure_message} />
      <Panel>
        <SplitCounts version={version} />
      </Panel>
      {version.slices.length > 1 && (
        <Panel title={t("dataset.slices")}>
          <Slices version={version} />
        </Panel>
      )}
      <Panel title={t("dataset.profile")}>
        <Profile json={version.profile_json} />
      </Panel>
      <Panel>
        <Facts
          rows={[
            [t("dataset.format"), word("rowFormat", bare(version.row_format), "–")],
            [t("dataset.file"), version.source_uri ? word("fileType", bare(version.file_type)) : <Nothing />],
            [t("dataset.encoding"), version.encoding ? version.encoding.toUpperCase() : <Nothing />],
            [t("column.size"), <Bytes value={version.size_bytes} />],
            [t("column.licence"), version.licence || <Nothing />],
            [t("column.origin"), version.origin || <Nothing />],
            [t("column.digest"), <Digest value={version.digest} />],
            [t("column.created"), <Time value={version.create_time} />],
            version.derived_from.length > 0 && [t("dataset.derivedFrom"), <References names={version.derived_from} />],
            version.pins.length > 0 && [
              t("dataset.usedBy"),
              <References names={version.pins.map((pin) => pin.holder)} />,
            ],
          ]}
        />
      </Panel>
      {version.state === "STATE_READY" && <Terms key={version.name} name={version.name} />}
    </div>
  );
}

function References({ names }: { names: string[] }) {
  return (
    <span className="row wrap">
      {names.map((name) => (
        <Ref key={name} name={name} />
      ))}
    </span>
  );
}

function SplitCounts({ version }: { version: DatasetVersion }) {
  const { t } = useI18n();
  const parts = [
    { key: "train", label: t("dataset.train"), count: version.train_count, colour: "var(--accent)" },
    { key: "test", label: t("dataset.test"), count: version.test_count, colour: "var(--info)" },
    { key: "refused", label: t("dataset.refusedCount"), count: version.refused_count, colour: "var(--bad)" },
    { key: "duplicates", label: t("dataset.duplicates"), count: version.duplicate_count },
    { key: "near", label: t("dataset.nearDuplicates"), count: version.near_duplicate_count },
  ];
  return (
    <>
      <div className="share" aria-hidden>
        {parts
          .slice(0, 3)
          .map(
            (part) =>
              Number(part.count) > 0 && (
                <i key={part.key} className={part.key} style={{ flexGrow: Number(part.count) }} />
              ),
          )}
      </div>
      <dl className="split-counts">
        {parts.map((part) => (
          <div key={part.key}>
            <dt>
              {part.colour && <i style={{ background: part.colour }} aria-hidden />}
              {part.label}
            </dt>
            <dd className="figure-big">
              <Num value={part.count} />
            </dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function Slices({ version }: { version: DatasetVersion }) {
  const largest = Math.max(...version.slices.map((slice) => Number(slice.train_count) + Number(slice.test_count)));
  return (
    <div>
      {version.slices.map(({ slice, train_count, test_count }) => {
        const total = Number(train_count) + Number(test_count);
        return (
          <div key={slice} className="slice-bar">
            <span className="ellipsis" title={slice}>
              {slice || "–"}
            </span>
            <div className="share" style={{ width: `${(total / largest) * 100}%` }} aria-hidden>
              {Number(train_count) > 0 && <i className="train" style={{ flexGrow: Number(train_count) }} />}
              {Number(test_count) > 0 && <i className="test" style={{ flexGrow: Number(test_count) }} />}
            </div>
            <span className="right">
              <Num value={total} />
            </span>
          </div>
        );
      })}
    </div>
  );
}
