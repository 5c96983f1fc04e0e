import { InboxOutlined } from "@ant-design/icons";
import { Button, Progress } from "antd";
import { type DragEvent, useEffect, useRef, useState } from "react";
import { bare } from "@/api/names";
import { useProject } from "@/api/queries";
import type { Upload } from "@/api/types";
import { type Sending, upload } from "@/api/upload";
import { useI18n } from "@/i18n";
import { formatBytes, formatPercent } from "@/i18n/format";
import { Trouble } from "@/ui/Trouble";

interface Props {
  accept: string;
  hint: string;
  /** Set by the form's item. */
  value?: Upload | null;
  onChange?: (upload: Upload | null) => void;
  onFile?: (file: File) => void;
  onBusy?: (busy: boolean) => void;
  id?: string;
}

/** A file that is sent as soon as it is chosen, so that its format is known while the form is filled in. */
export function FileField({ accept, hint, value, onChange, onFile, onBusy, id }: Props) {
  const { t, language } = useI18n();
  const project = useProject();
  const input = useRef<HTMLInputElement>(null);
  const sending = useRef<Sending | null>(null);
  const [file, setFile] = useState<File | null>(null);
  const [share, setShare] = useState(0);
  const [error, setError] = useState<unknown>(null);
  const [over, setOver] = useState(false);
  useEffect(() => () => sending.current?.abort(), []);

  const take = async (chosen: File | undefined) => {
    if (!chosen) return;
    sending.current?.abort();
    setFile(chosen);
    setShare(0);
    setError(null);
    onChange?.(null);
    onFile?.(chosen);
    onBusy?.(true);
    const mine = upload(project, chosen, setShare);
    sending.current = mine;
    try {
      onChange?.(await mine.done);
    } catch (problem) {
      if (!(problem instanceof DOMException)) setError(problem);
    } finally {
      if (sending.current === mine) onBusy?.(false);
    }
  };
  const dragOver = (event: DragEvent) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void take(event.dataTransfer.files[0]);
  };

  const chooser = (
    <input
      ref={input}
      id={id}
      type="file"
      accept={accept}
      className="sr-only"
      aria-label={t("upload.file")}
      onChange={(event) => take(event.target.files?.[0])}
    />
  );
  if (!file) {
    return (
      // biome-ignore lint/a11y/noLabelWithoutControl: the input is inside
      <label
        className={over ? "drop over" : "drop"}
        onDragOver={dragOver}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        {chooser}
        <InboxOutlined aria-hidden style={{ fontSize: 24, color: "var(--accent)" }} />
        <span>{t("upload.drop")}</span>
        <span className="quiet">{hint}</span>
      </label>
    );
  }
  return (
    <div className="stack-s">
      <div className="drop-file">
        {chooser}
        <div className="grow">
          <div className="ellipsis">
            {file.name} <span className="quiet num">{formatBytes(file.size)}</span>
          </div>
          {value ? (
            <Detected upload={value} />
          ) : (
            !error && (
              <Progress
                percent={Math.round(share * 100)}
                size="small"
                status="active"
                aria-label={t("upload.sending", { percent: formatPercent(language, share, 0) })}
              />
            )
          )}
        </div>
        <Button size="small" onClick={() => input.current?.click()}>
          {t("upload.change")}
        </Button>
      </div>
      {error !== null && <Trouble error={error} />}
    </div>
  );
}

function Detected({ upload }: { upload: Upload }) {
  const { t, word } = useI18n();
  const format = bare(upload.detected_row_format);
  const type = bare(upload.detected_file_type);
  if (format === "UNSPECIFIED") {
    return <span className="quiet">{type === "UNSPECIFIED" ? t("upload.sent") : t("upload.unknown")}</span>;
  }
  return (
    <span className="quiet" data-detected={format}>
      {t("upload.detected", { format: word("rowFormat", format), type: word("fileType", type) })}
      {upload.detected_encoding && ` · ${upload.detected_encoding.toUpperCase()}`}
    </span>
  );
}
