import { DeleteOutlined, PlusOutlined } from "@ant-design/icons";
import { AutoComplete, Button, Form, Input, Select } from "antd";
import { post } from "@/api/client";
import { lastPart } from "@/api/names";
import { useChange, useProject } from "@/api/queries";
import type { Prompt, PromptTurn, PromptVersion } from "@/api/types";
import { useI18n } from "@/i18n";
import { FormDrawer, More } from "@/ui/FormDrawer";
import { IdField } from "@/ui/IdField";
import { parametersText } from "./diff";
import { LABEL } from "./Labels";
import "./prompts.css";
import { useMessage } from "@/ui/useMessage";

const ROLES = ["system", "user", "assistant"];
const FIRST: PromptTurn[] = [
  { role: "system", content: "" },
  { role: "user", content: "" },
];

interface Values {
  display_name?: string;
  id: string;
  messages: PromptTurn[];
  parameters?: string;
  comment?: string;
  label?: string;
}

interface Props {
  open: boolean;
  /** The prompt that gets a version; without it a new one is made. */
  prompt?: Prompt;
  /** The version to begin from. */
  from?: PromptVersion;
  onClose: () => void;
  onMade: (version: PromptVersion) => void;
}

export function NewVersionDrawer({ open, prompt, from, onClose, onMade }: Props) {
  const { t } = useI18n();
  const message = useMessage();
  const project = useProject();
  const [form] = Form.useForm<Values>();
  const create = useChange(["inference_gateway"], ({ id, parameters, ...values }: Values) =>
    post<PromptVersion>(`/projects/${project}/prompts/${prompt ? lastPart(prompt.name) : id}/versions`, {
      ...values,
      parameters_json: parameters ?? "",
    }),
  );
  const newest = prompt?.newest_version ?? 0;
  return (
    <FormDrawer<Values>
      open={open}
      onClose={onClose}
      form={form}
      size={720}
      title={prompt ? t("prompts.newVersion") : t("prompts.new")}
      lead={t("prompts.newLead", { example: "{{name}}" })}
      submitText={t("action.create")}
      initialValues={{
        messages: from?.messages ?? FIRST,
        parameters: from && parametersText(from),
        label: prompt ? "" : "production",
      }}
      onSubmit={async (values) => {
        const made = await create.mutateAsync(values);
        message.success(
          made.number > newest ? t("prompts.made", { n: made.number }) : t("prompts.madeNothing", { n: made.number }),
        );
        onMade(made);
      }}
    >
      {!prompt && (
        <>
          <Form.Item
            name="display_name"
            label={t("form.name")}
            rules={[{ required: true, whitespace: true, message: t("form.required") }]}
          >
            <Input maxLength={120} autoComplete="off" />
          </Form.Item>
          <IdField name="id" from="display_name" />
        </>
      )}
      <Turns />
      <Form.Item name="comment" label={t("prompts.comment")}>
        <Input maxLength={500} placeholder={t("prompts.commentHint")} />
      </Form.Item>
      <Form.Item
        name="label"
        label={t("prompts.labelAtOnce")}
        rules={[{ pattern: LABEL, max: 40, message: t("prompts.labelRule") }]}
      >
        <AutoComplete
          options={[...new Set(["production", ...Object.keys(prompt?.labels ?? {})])].map((value) => ({ value }))}
        />
      </Form.Item>
      <More title={t("prompts.parameters")}>
        <Form.Item
          name="parameters"
          label={t("prompts.parameters")}
          extra={t("prompts.parametersHint")}
          rules={[
            {
              validator: (_, text) =>
                isObject(text) ? Promise.resolve() : Promise.reject(Error(t("prompts.notJson"))),
            },
          ]}
        >
          <Input.TextArea
            className="mono"
            spellCheck={false}
            autoSize={{ minRows: 3, maxRows: 16 }}
            placeholder={'{"temperature": 0}'}
          />
        </Form.Item>
      </More>
    </FormDrawer>
  );
}

function Turns() {
  const { t, word } = useI18n();
  return (
    <Form.Item required label={t("prompts.turns")} extra={t("prompts.turnsHint")}>
      <Form.List name="messages">
        {(fields, { add, remove }) => (
          <>
            {fields.map(({ key, name }, at) => (
              <div key={key} className="prompt-turn">
                <Form.Item name={[name, "role"]}>
                  <Select
                    aria-label={t("prompts.role", { n: at + 1 })}
                    options={ROLES.map((role) => ({ value: role, label: word("chatRole", role) }))}
                  />
                </Form.Item>
                <Form.Item
                  name={[name, "content"]}
                  rules={[{ required: true, whitespace: true, message: t("form.required") }]}
                >
                  <Input.TextArea
                    aria-label={t("prompts.turn", { n: at + 1 })}
                    autoSize={{ minRows: 2, maxRows: 14 }}
                    maxLength={65_536}
                  />
                </Form.Item>
                <Button
                  type="text"
                  icon={<DeleteOutlined aria-hidden />}
                  disabled={fields.length === 1}
                  aria-label={t("prompts.removeTurn", { n: at + 1 })}
                  onClick={() => remove(name)}
                />
              </div>
            ))}
            <Button size="small" icon={<PlusOutlined aria-hidden />} onClick={() => add({ role: "user", content: "" })}>
              {t("prompts.addTurn")}
            </Button>
          </>
        )}
      </Form.List>
    </Form.Item>
  );
}

function isObject(text: unknown): boolean {
  if (typeof text !== "string" || !text.trim()) return true;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
