import { LeftOutlined, RightOutlined } from "@ant-design/icons";
import { Button } from "antd";
import { useState } from "react";
import { useI18n } from "@/i18n";
import { formatNumber } from "@/i18n/format";

export interface Pages {
  token: string;
  index: number;
  forward: (next: string) => void;
  back: () => void;
}

/** Pages by opaque tokens: forward with the reply's, back with those kept. Another `question` begins at the first. */
export function usePages(question: string): Pages {
  const [state, setState] = useState({ question, tokens: [""] });
  const tokens = state.question === question ? state.tokens : [""];
  return {
    token: tokens.at(-1) ?? "",
    index: tokens.length - 1,
    forward: (next) => setState({ question, tokens: [...tokens, next] }),
    back: () => setState({ question, tokens: tokens.slice(0, -1) }),
  };
}

interface Props {
  pages: Pages;
  shown: number;
  pageSize: number;
  next: string;
  total: number;
}

export function Pager({ pages, shown, pageSize, next, total }: Props) {
  const { t, language } = useI18n();
  const first = pages.index * pageSize + 1;
  const number = (value: number) => formatNumber(language, value);
  return (
    <nav className="pager" aria-label={t("table.pages")}>
      <span className="num quiet">
        {t("table.range", {
          first: number(shown ? first : 0),
          last: number(shown ? first + shown - 1 : 0),
          total: number(total),
        })}
      </span>
      <Button
        size="small"
        type="text"
        icon={<LeftOutlined aria-hidden />}
        disabled={pages.index === 0}
        aria-label={t("table.previous")}
        onClick={pages.back}
      />
      <Button
        size="small"
        type="text"
        icon={<RightOutlined aria-hidden />}
        disabled={!next}
        aria-label={t("table.next")}
        onClick={() => pages.forward(next)}
      />
    </nav>
  );
}
