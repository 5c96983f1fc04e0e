import { useCallback, useEffect, useRef, useState } from "react";
import { type Answer, chat, type Turn } from "@/api/chat";

export interface Asked {
  id: number;
  question: string;
  model: string;
  answer: Answer;
  state: "answering" | "done" | "stopped" | "failed";
  error?: unknown;
}

interface Settings {
  model: string;
  system: string;
  remember: boolean;
  temperature: number;
  max_tokens: number;
}

/** A conversation with one deployment after another; only answers that ended are part of its past. */
export function useChat(project: string) {
  const [exchanges, setExchanges] = useState<Asked[]>([]);
  const running = useRef<AbortController | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => () => running.current?.abort(), []);

  const update = useCallback(
    (id: number, change: Partial<Asked>) =>
      setExchanges((all) => all.map((one) => (one.id === id ? { ...one, ...change } : one))),
    [],
  );
  const ask = async (question: string, { model, system, remember, ...parameters }: Settings) => {
    const id = Date.now();
    const messages = toTurns(system, remember ? exchanges : [], question);
    const abort = new AbortController();
    running.current = abort;
    setBusy(true);
    setExchanges((all) => [...all, { id, question, model, answer: { id: "", text: "" }, state: "answering" }]);
    try {
      await chat(project, { model, messages, ...parameters }, (answer) => update(id, { answer }), abort.signal);
      update(id, { state: "done" });
    } catch (error) {
      update(id, abort.signal.aborted ? { state: "stopped" } : { state: "failed", error });
    } finally {
      setBusy(false);
    }
  };
  return {
    exchanges,
    busy,
    ask,
    stop: () => running.current?.abort(),
    clear: () => {
      running.current?.abort();
      setExchanges([]);
    },
  };
}

function toTurns(system: string, past: readonly Asked[], question: string): Turn[] {
  const turns: Turn[] = system.trim() ? [{ role: "system", content: system.trim() }] : [];
  for (const one of past.filter((exchange) => exchange.state === "done")) {
    turns.push({ role: "user", content: one.question }, { role: "assistant", content: one.answer.text });
  }
  return [...turns, { role: "user", content: question }];
}
