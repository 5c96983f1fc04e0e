import { useI18n } from "@/i18n";
import "./conversation.css";

interface Turn {
  role: string;
  content: string;
}

/** A conversation as it was, one turn under another. JSON answers are set out so that their fields can be read. */
export function Conversation({ turns }: { turns: readonly Turn[] }) {
  const { word } = useI18n();
  return (
    <div className="talk">
      {turns.map((turn, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a conversation's turns have no other identity and never move
        <div key={index} className={`turn ${turn.role}`}>
          <span className="turn-role">{word("chatRole", turn.role)}</span>
          <Content text={turn.content} />
        </div>
      ))}
    </div>
  );
}

export function Content({ text }: { text: string }) {
  const fields = jsonFields(text);
  if (!fields)
    return (
      <div className="turn-text" translate="no">
        {text}
      </div>
    );
  return (
    <div className="turn-json" translate="no">
      {fields.map(([name, value]) => (
        <div key={name}>
          <span className="mono quiet">{name}</span>
          <span>{typeof value === "string" ? value : JSON.stringify(value)}</span>
        </div>
      ))}
    </div>
  );
}

function jsonFields(text: string): [string, unknown][] | undefined {
  if (!text.trimStart().startsWith("{")) return undefined;
  try {
    return Object.entries(JSON.parse(text) as object);
  } catch {
    return undefined;
  }
}
