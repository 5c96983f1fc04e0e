import { DownloadOutlined } from "@ant-design/icons";
import { Skeleton } from "antd";
import { url } from "@/api/client";
import { useGet } from "@/api/queries";
import type { ModelFile, Variant } from "@/api/types";
import { useI18n } from "@/i18n";
import { Digest } from "@/ui/Id";
import { Trouble } from "@/ui/Trouble";
import { Bytes } from "@/ui/values";

/** The files of a variant with a link each; a browser that breaks off goes on by ranges. */
export function Files({ variant }: { variant: Variant }) {
  const { t } = useI18n();
  const list = useGet<{ files: ModelFile[] }>(`/${variant.name}/files`);
  if (list.isPending) return <Skeleton active title={false} paragraph={{ rows: 1 }} />;
  if (list.isError) return <Trouble error={list.error} retry={() => list.refetch()} />;
  if (!list.data.files.length) return <span className="quiet">{t("files.none")}</span>;
  return (
    <ul className="plain stack-s">
      {list.data.files.map((file) => (
        <li key={file.path} className="row">
          <a href={url(`/${variant.name}/files/${file.path}`)} download className="mono">
            <DownloadOutlined aria-hidden /> {file.path}
          </a>
          <span className="grow" />
          <Bytes value={file.size_bytes} />
          <Digest value={file.digest} />
        </li>
      ))}
    </ul>
  );
}
