export const adapters = {
  "adapter.title": "Adapters",
  "adapter.make": "Make its adapter",
  "adapter.lead":
    "Small trainings on one base. Applications ask for one as model name and adapter, with a colon between.",
  "adapter.add": "Add an adapter",
  "adapter.addTitle": "Add an adapter to {what}",
  "adapter.addLead":
    "It must have been trained on the very base that is served. Make its variant on the page of its model.",
  "adapter.empty": "The base is served alone",
  "adapter.model": "Model to ask for",
  "adapter.variant": "Variant",
  "adapter.for": "For",
  "adapter.everybody": "everybody",
  "adapter.name": "Name",
  "adapter.nameHint": "What applications write after the colon: small letters, digits, dot, hyphen.",
  "adapter.keys": "Keys",
  "adapter.keysHint": "With any, only these keys get it, and they need not ask for it: a personal model.",
  "adapter.remove": "Remove",
  "adapter.removeTitle": "Remove {what}?",
  "adapter.removeHint": "Who asks for it is told that there is none. What was trained stays.",
  "adapter.changed": "The adapters change",
} as const;
