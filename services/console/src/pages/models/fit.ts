/** Rows that somebody pasted, as a file that the data service reads. */

export const MOST_ROWS = 200;

export class NotRows extends Error {}

/**
 * JSON lines as they are; else a question and its answer on each line, with a tab between them (as cells are copied
 * out of a spreadsheet). Raises: NotRows, naming the line.
 */
export function toJsonLines(text: string): string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  if (!lines.length || lines.length > MOST_ROWS) throw new NotRows(String(lines.length));
  if (lines[0]?.trimStart().startsWith("{")) return `${lines.join("\n")}\n`;
  const rows = lines.map((line, at) => {
    const [question = "", answer = ""] = line.split("\t");
    if (!question.trim() || !answer.trim()) throw new NotRows(`${at + 1}`);
    const messages = [
      { role: "user", content: question.trim() },
      { role: "assistant", content: answer.trim() },
    ];
    return JSON.stringify({ messages });
  });
  return `${rows.join("\n")}\n`;
}
