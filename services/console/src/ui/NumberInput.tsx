import { InputNumber, type InputNumberProps } from "antd";

/** Ant Design reads its two small arrows aloud in English; the arrow keys do the same. */
export function NumberInput(props: InputNumberProps<number>) {
  return <InputNumber<number> controls={false} {...props} />;
}
