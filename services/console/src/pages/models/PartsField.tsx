import { CloseOutlined, InboxOutlined, PauseOutlined, PlayCircleOutlined } from "@ant-design/icons";
import { Button, Progress } from "antd";
import { type DragEvent, useEffect, useRef, useState } from "react";
import { ApiError } from "@/api/client";
import { type Arrived, dropUpload, modelFiles, sendModel, unfinished } from "@/api/partUpload";
import { useList, useProject } from "@/api/queries";
import type { ModelUpload } from "@/api/types";
import { useI18n } from "@/i18n";
import { formatBytes } from "@/i18n/format";
import { Trouble } from "@/ui/Trouble";

interface Props {
  /** Set by the form's item, when everything has arrived. */
  value?: ModelUpload | null;
  onChange?: (upload: ModelUpload | null) => void;
  onBusy?: (busy: boolean) => void;
  id?: string;
}

/** The files of a model, sent in parts as soon as they are chosen; what has arrived stays, also through a reload. */
export function PartsField({ value, onChange, onBusy, id }: Props) {
  const { t } = useI18n();
  const project = useProject();
  const [files, setFiles] = useState<File[]>([]);
  const [arrived, setArrived] = useState<Arrived>({});
  const [error, setError] = useState<unknown>(null);
  const [over, setOver] = useState(false);
  const sending = useRef<AbortController | null>(null);
  const [running, setRunning] = useState(false);
  const open = useList<"model_uploads", ModelUpload>(`/projects/${project}/model-uploads`, { filter: "state=OPEN" });
  useEffect(() => () => sending.current?.abort(), []);

  const go = async (chosen: File[]) => {
    const mine = new AbortController();
    sending.current = mine;
    setError(null);
    setRunning(true);
    onBusy?.(true);
    try {
      onChange?.(await sendModel(project, chosen, mine.signal, setArrived));
    } catch (problem) {
      if (!mine.signal.aborted) setError(problem);
    } finally {
      if (sending.current === mine) {
        setRunning(false);
        onBusy?.(false);
      }
    }
  };
  const take = (chosen: File[]) => {
    const mine = modelFiles(chosen);
    if (!mine.length) return;
    setFiles(mine);
    setArrived({});
    onChange?.(null);
    void go(mine);
  };
  const cancel = async () => {
    sending.current?.abort();
    const known = value ?? unfinished((await open.refetch()).data?.model_uploads ?? [], files);
    setFiles([]);
    setError(null);
    onChange?.(null);
    if (known) await dropUpload(known.name).catch(setError);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take([...event.dataTransfer.files]);
  };

  if (!files.length) {
    return (
      <div className="stack-s">
        <label
          className={over ? "drop over" : "drop"}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={drop}
        >
          <input
            id={id}
            type="file"
            multiple
            className="sr-only"
            aria-label={t("parts.files")}
            onChange={(event) => take([...(event.target.files ?? [])])}
          />
          <InboxOutlined aria-hidden style={{ fontSize: 24, color: "var(--accent)" }} />
          <span>{t("parts.drop")}</span>
          <span className="quiet">{t("parts.hint")}</span>
        </label>
        <Left uploads={open.data?.model_uploads ?? []} />
        {error !== null && <Trouble error={error} />}
      </div>
    );
  }
  return (
    <div className="stack-s">
      {files.map((file) => (
        <FileLine key={file.name} file={file} arrived={arrived[file.name] ?? 0} running={running} done={!!value} />
      ))}
      <div className="row">
        <span className="grow quiet" role="status">
          {value ? t("parts.done") : running ? t("parts.sending") : t("parts.paused")}
        </span>
        {!value && running && (
          <Button size="small" icon={<PauseOutlined aria-hidden />} onClick={() => sending.current?.abort()}>
            {t("parts.pause")}
          </Button>
        )}
        {!value && !running && !isFinal(error) && (
          <Button size="small" icon={<PlayCircleOutlined aria-hidden />} onClick={() => go(files)}>
            {t("parts.resume")}
          </Button>
        )}
        <Button size="small" icon={<CloseOutlined aria-hidden />} onClick={cancel}>
          {t("parts.cancel")}
        </Button>
      </div>
      {error !== null && <Trouble error={error} />}
    </div>
  );
}

function FileLine(props: { file: File; arrived: number; running: boolean; done: boolean }) {
  const { file, arrived, running, done } = props;
  const { t } = useI18n();
  const percent = done ? 100 : Math.floor((arrived / file.size) * 100);
  return (
    <div className="drop-file">
      <div className="grow">
        <div className="ellipsis">
          {file.name}{" "}
          <span className="quiet num">
            {formatBytes(arrived)} / {formatBytes(file.size)}
          </span>
        </div>
        <Progress
          percent={percent}
          size="small"
          status={percent === 100 ? "success" : running ? "active" : "normal"}
          aria-label={t("parts.progress", { file: file.name })}
        />
      </div>
    </div>
  );
}

/** Says that an earlier upload waits for the rest of its files. */
function Left({ uploads }: { uploads: ModelUpload[] }) {
  const { t } = useI18n();
  const newest = uploads[0];
  if (!newest) return null;
  return (
    <span className="quiet">
      {t("parts.left", {
        files: newest.files.map((file) => file.path).join(", "),
        arrived: formatBytes(Number(newest.received_bytes)),
        size: formatBytes(Number(newest.size_bytes)),
      })}
    </span>
  );
}

/** What the server refused stays refused; a lost connection does not. */
function isFinal(error: unknown): boolean {
  return error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429;
}
