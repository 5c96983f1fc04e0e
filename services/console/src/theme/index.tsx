import {
  CheckCircleFilled,
  CloseCircleFilled,
  DownOutlined,
  EllipsisOutlined,
  ExclamationCircleFilled,
  InfoCircleFilled,
} from "@ant-design/icons";
import { theme as antd, ConfigProvider } from "antd";
import enUS from "antd/locale/en_US";
import zhCN from "antd/locale/zh_CN";
import { createContext, type ReactNode, use, useEffect, useMemo, useState } from "react";
import { useI18n } from "@/i18n";
import { DARK, LIGHT, type Palette } from "./palette";

export type Mode = "light" | "dark" | "system";
const STORED = "gyre.theme";

interface Theme {
  mode: Mode;
  setMode: (mode: Mode) => void;
  dark: boolean;
  palette: Palette;
}

const Context = createContext<Theme | null>(null);

export function ThemeProvider({ children }: { children: ReactNode }) {
  const { language } = useI18n();
  const [mode, setMode] = useState<Mode>(() => (localStorage.getItem(STORED) as Mode | null) ?? "system");
  const systemDark = useMedia("(prefers-color-scheme: dark)");
  const still = useMedia("(prefers-reduced-motion: reduce)");
  const dark = mode === "dark" || (mode === "system" && systemDark);

  useEffect(() => {
    localStorage.setItem(STORED, mode);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  }, [mode, dark]);

  const value = useMemo<Theme>(() => ({ mode, setMode, dark, palette: dark ? DARK : LIGHT }), [mode, dark]);
  const config = useMemo(() => antdTheme(dark, !still), [dark, still]);
  return (
    <Context value={value}>
      <ConfigProvider
        theme={config}
        locale={language === "zh-CN" ? zhCN : enUS}
        button={{ autoInsertSpace: false }}
        // Ant Design's own icons are read aloud by their English names.
        alert={{
          errorIcon: <CloseCircleFilled aria-hidden />,
          infoIcon: <InfoCircleFilled aria-hidden />,
          successIcon: <CheckCircleFilled aria-hidden />,
          warningIcon: <ExclamationCircleFilled aria-hidden />,
        }}
        input={{ allowClear: { clearIcon: <CloseCircleFilled aria-hidden /> } }}
        select={{ suffixIcon: <DownOutlined aria-hidden />, clearIcon: <CloseCircleFilled aria-hidden /> }}
        tabs={{ more: { icon: <EllipsisOutlined aria-hidden /> } }}
      >
        {children}
      </ConfigProvider>
    </Context>
  );
}

export function useTheme(): Theme {
  const theme = use(Context);
  if (!theme) throw new Error("useTheme outside of ThemeProvider");
  return theme;
}

function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const listen = () => setMatches(media.matches);
    media.addEventListener("change", listen);
    return () => media.removeEventListener("change", listen);
  }, [query]);
  return matches;
}

/** Without `motion` nothing waits for the end of an animation, which a reader who wants none would never see. */
function antdTheme(dark: boolean, motion: boolean) {
  const palette = dark ? DARK : LIGHT;
  return {
    algorithm: dark ? antd.darkAlgorithm : antd.defaultAlgorithm,
    token: {
      motion,
      colorPrimary: palette.accent,
      colorLink: palette.accent,
      colorLinkHover: palette.accentHover,
      colorSuccess: palette.ok,
      colorWarning: palette.wait,
      colorError: palette.bad,
      colorInfo: palette.accent,
      colorBgBase: palette.surface,
      colorBgLayout: palette.canvas,
      colorBgContainer: palette.surface,
      colorBgElevated: palette.raised,
      colorText: palette.ink,
      colorTextSecondary: palette.ink2,
      colorTextTertiary: palette.ink3,
      colorTextPlaceholder: palette.ink3,
      colorBorder: palette.line,
      colorBorderSecondary: palette.lineSoft,
      colorSplit: palette.lineSoft,
      colorTextLightSolid: dark ? "#06201e" : "#ffffff",
      borderRadius: 5,
      borderRadiusLG: 8,
      fontSize: 13,
      controlHeight: 30,
      fontFamily: "var(--sans)",
      fontFamilyCode: "var(--mono)",
      boxShadow: "0 1px 2px rgb(0 0 0 / 5%), 0 8px 24px -8px rgb(0 0 0 / 18%)",
      boxShadowSecondary: "0 1px 2px rgb(0 0 0 / 6%), 0 12px 32px -10px rgb(0 0 0 / 24%)",
      motionDurationMid: "0.15s",
      motionDurationSlow: "0.2s",
    },
    components: {
      Table: {
        headerBg: palette.surface,
        headerColor: palette.ink3,
        headerSplitColor: "transparent",
        headerSortActiveBg: palette.surface,
        headerSortHoverBg: palette.lineSoft,
        bodySortBg: palette.surface,
        rowHoverBg: dark ? "#182222" : "#f7faf9",
        cellPaddingBlockSM: 7,
        cellPaddingInlineSM: 10,
        cellFontSizeSM: 13,
      },
      Button: { primaryShadow: "none", defaultShadow: "none", dangerShadow: "none", fontWeight: 500 },
      Segmented: { trackBg: palette.lineSoft, itemSelectedBg: palette.surface },
      Tabs: { horizontalItemPadding: "9px 2px", horizontalMargin: "0 0 14px", titleFontSize: 13 },
      Descriptions: { itemPaddingBottom: 8 },
      Drawer: { paddingLG: 20 },
      Form: { itemMarginBottom: 16, verticalLabelPadding: "0 0 4px" },
      Tooltip: { fontSize: 12 },
    },
  };
}
