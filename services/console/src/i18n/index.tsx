import { createContext, type ReactNode, use, useCallback, useEffect, useMemo, useState } from "react";
import { type Arguments, fill, type Key, type Values } from "./dictionary";
import { en } from "./en";
import { zh } from "./zh";

export type Language = "en-US" | "zh-CN";
export type { Key, PlainKey } from "./dictionary";

const DICTIONARIES: Record<Language, Record<Key, string>> = { "en-US": en, "zh-CN": zh };
const STORED = "gyre.language";

export type Translate = <K extends Key>(key: K, ...values: Arguments<K>) => string;

interface I18n {
  language: Language;
  setLanguage: (language: Language) => void;
  t: Translate;
  /** The text for a code that the server chose, for example a state or a reason; `fallback` where there is none. */
  word: (prefix: string, code: string, fallback?: string) => string;
}

const Context = createContext<I18n | null>(null);

export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(initialLanguage);

  useEffect(() => {
    document.documentElement.lang = language;
    localStorage.setItem(STORED, language);
  }, [language]);

  const lookup = useCallback(
    (key: string, values?: Values): string | undefined => {
      const text = DICTIONARIES[language][key as Key];
      return text === undefined ? undefined : fill(text, values);
    },
    [language],
  );
  const value = useMemo<I18n>(
    () => ({
      language,
      setLanguage,
      t: (key, ...values) => lookup(key, values[0]) ?? key,
      word: (prefix, code, fallback) => lookup(`${prefix}.${code}`) ?? fallback ?? code,
    }),
    [language, lookup],
  );
  return <Context value={value}>{children}</Context>;
}

export function useI18n(): I18n {
  const i18n = use(Context);
  if (!i18n) throw new Error("useI18n outside of I18nProvider");
  return i18n;
}

function initialLanguage(): Language {
  const stored = localStorage.getItem(STORED);
  if (stored === "en-US" || stored === "zh-CN") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en-US";
}
