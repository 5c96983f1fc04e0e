import type { Translation } from "../dictionary";
import type { adapters as source } from "../en/adapters";

export const adapters: Translation<typeof source> = {
  "adapter.title": "适配器",
  "adapter.make": "生成适配器",
  "adapter.lead": "同一基座上的小规模训练。应用以“部署名:适配器名”作为模型名来请求。",
  "adapter.add": "添加适配器",
  "adapter.addTitle": "为 {what} 添加适配器",
  "adapter.addLead": "它必须是在当前服务的同一基座上训练的。请先在模型页面生成其变体。",
  "adapter.empty": "仅提供基座本身",
  "adapter.model": "请求时的模型名",
  "adapter.variant": "变体",
  "adapter.for": "适用对象",
  "adapter.everybody": "所有人",
  "adapter.name": "名称",
  "adapter.nameHint": "应用写在冒号之后的部分：小写字母、数字、点和连字符。",
  "adapter.keys": "密钥",
  "adapter.keysHint": "一旦指定，只有这些密钥可以使用，且无需在请求中写明：即个人模型。",
  "adapter.remove": "移除",
  "adapter.removeTitle": "移除 {what}？",
  "adapter.removeHint": "之后请求它的应用会得知它不存在。训练成果会保留。",
  "adapter.changed": "适配器正在更改",
};
