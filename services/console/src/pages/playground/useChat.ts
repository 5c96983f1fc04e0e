import { useCallback, useEffect, useRef, useState } from "react";
import { type Answer, chat, type PromptWish, type Turn } from "@/api/chat";
import type { Lane } from "./address";

export interface Reply {
  model: string;
  answer: Answer;
  state: "answering" | "done" | "stopped" | "failed";
  error?: unknown;
}

/** One question and what each model said to it. */
export interface Round {
  id: number;
  /** Empty where the prompt alone is asked. */
  question: string;
  prompt?: PromptWish;
  replies: Reply[];
  /** Which reply was picked as the better one; the conversation of every model goes on from it. */
  picked?: number;
}

/** A conversation with up to four models at once; each is on its own, whatever becomes of the others. */
export function useChat(project: string) {
  const [rounds, setRounds] = useState<Round[]>([]);
  const running = useRef(new Map<string, AbortController>());
  const stop = useCallback(() => {
    for (const one of running.current.values()) one.abort();
  }, []);
  useEffect(() => stop, [stop]);

  const update = (id: number, at: number, change: Partial<Reply>) =>
    setRounds((all) => all.map((round) => (round.id === id ? withReply(round, at, change) : round)));

  const answer = async (id: number, at: number, lane: Lane, messages: Turn[], prompt?: PromptWish) => {
    const abort = new AbortController();
    const key = `${id} ${at}`;
    running.current.set(key, abort);
    const { model, temperature, max_tokens } = lane;
    const asked = { model, messages, temperature, max_tokens, ...(prompt && { prompt }) };
    update(id, at, { model, answer: { id: "", text: "" }, state: "answering", error: undefined });
    try {
      await chat(project, asked, (answer) => update(id, at, { answer }), abort.signal);
      update(id, at, { state: "done" });
    } catch (error) {
      update(id, at, abort.signal.aborted ? { state: "stopped" } : { state: "failed", error });
    } finally {
      running.current.delete(key);
    }
  };

  const ask = (question: string, lanes: readonly Lane[], remember: boolean, prompt?: PromptWish) => {
    const id = Date.now();
    const past = remember ? rounds : [];
    const replies = lanes.map(({ model }): Reply => ({ model, answer: { id: "", text: "" }, state: "answering" }));
    setRounds((all) => [...all, { id, question, prompt, replies }]);
    for (const [at, lane] of lanes.entries())
      void answer(id, at, lane, toTurns(prompt ? "" : lane.system, past, at, question), prompt);
  };

  /** Asks one model the last question again. */
  const retry = (at: number, lane: Lane, remember: boolean) => {
    const round = rounds.at(-1);
    if (!round) return;
    const past = remember ? rounds.slice(0, -1) : [];
    setRounds((all) => all.map((one) => (one.id === round.id ? { ...one, picked: undefined } : one)));
    const turns = toTurns(round.prompt ? "" : lane.system, past, at, round.question);
    void answer(round.id, at, lane, turns, round.prompt);
  };

  return {
    rounds,
    busy: rounds.at(-1)?.replies.some((reply) => reply.state === "answering") ?? false,
    ask,
    retry,
    stop,
    stopOne: (round: Round, at: number) => running.current.get(`${round.id} ${at}`)?.abort(),
    pick: (round: Round, at: number) =>
      setRounds((all) => all.map((one) => (one.id === round.id ? { ...one, picked: at } : one))),
    clear: () => {
      stop();
      setRounds([]);
    },
  };
}

function withReply(round: Round, at: number, change: Partial<Reply>): Round {
  return { ...round, replies: round.replies.map((reply, index) => (index === at ? { ...reply, ...change } : reply)) };
}

/** What lane `at` is told: of each earlier round the answer that was picked, or else its own; only whole answers. */
export function toTurns(system: string, past: readonly Round[], at: number, question: string): Turn[] {
  const turns: Turn[] = system.trim() ? [{ role: "system", content: system.trim() }] : [];
  for (const round of past) {
    const reply = round.replies[round.picked ?? at] ?? round.replies[0];
    if (reply?.state !== "done") continue;
    turns.push(...asked(round.question), { role: "assistant", content: reply.answer.text });
  }
  return [...turns, ...asked(question)];
}

/** Nothing where the prompt alone was asked. */
function asked(question: string): Turn[] {
  return question ? [{ role: "user", content: question }] : [];
}
