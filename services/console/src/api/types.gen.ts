// Generated from proto/ by scripts/gen_types.py. Not edited by hand.

export type AuditEntryOutcome =
  | "OUTCOME_UNSPECIFIED"
  | "OUTCOME_DONE"
  | "OUTCOME_DENIED"
  | "OUTCOME_FAILED";

export type Role =
  | "ROLE_UNSPECIFIED"
  | "ROLE_VIEWER"
  | "ROLE_REVIEWER"
  | "ROLE_ENGINEER"
  | "ROLE_ADMIN";

export type ApiKeyState =
  | "STATE_UNSPECIFIED"
  | "STATE_ACTIVE"
  | "STATE_REVOKED";

export type BudgetPeriod =
  | "BUDGET_PERIOD_UNSPECIFIED"
  | "BUDGET_PERIOD_DAY"
  | "BUDGET_PERIOD_MONTH"
  | "BUDGET_PERIOD_TOTAL";

export type ProjectState =
  | "STATE_UNSPECIFIED"
  | "STATE_ACTIVE"
  | "STATE_DELETED";

export type DatasetType =
  | "TYPE_UNSPECIFIED"
  | "TYPE_SFT"
  | "TYPE_PREFERENCE"
  | "TYPE_EVALUATION"
  | "TYPE_PROMPT";

export type DatasetState =
  | "STATE_UNSPECIFIED"
  | "STATE_ACTIVE"
  | "STATE_DELETED";

export type Split =
  | "SPLIT_UNSPECIFIED"
  | "SPLIT_TRAIN"
  | "SPLIT_TEST";

export type RowFormat =
  | "ROW_FORMAT_UNSPECIFIED"
  | "ROW_FORMAT_ALPACA"
  | "ROW_FORMAT_SHAREGPT"
  | "ROW_FORMAT_MESSAGES"
  | "ROW_FORMAT_PROMPT_COMPLETION"
  | "ROW_FORMAT_PREFERENCE"
  | "ROW_FORMAT_PROMPT";

export type FileType =
  | "FILE_TYPE_UNSPECIFIED"
  | "FILE_TYPE_JSONL"
  | "FILE_TYPE_JSON"
  | "FILE_TYPE_CSV"
  | "FILE_TYPE_PARQUET";

export type DatasetVersionState =
  | "STATE_UNSPECIFIED"
  | "STATE_IMPORTING"
  | "STATE_READY"
  | "STATE_FAILED"
  | "STATE_DELETED";

export type ComparisonState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUEUED"
  | "STATE_RUNNING"
  | "STATE_CANCELLING"
  | "STATE_SUCCEEDED"
  | "STATE_FAILED"
  | "STATE_CANCELLED";

export type CandidateState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUANTISING"
  | "STATE_WAITING"
  | "STATE_EVALUATING"
  | "STATE_MEASURED"
  | "STATE_FAILED";

export type EvaluationState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUEUED"
  | "STATE_RUNNING"
  | "STATE_CANCELLING"
  | "STATE_SUCCEEDED"
  | "STATE_FAILED"
  | "STATE_CANCELLED";

export type SuiteState =
  | "STATE_UNSPECIFIED"
  | "STATE_ACTIVE"
  | "STATE_DELETED";

export type ScorerKind =
  | "KIND_UNSPECIFIED"
  | "KIND_JSON_FIELDS"
  | "KIND_EXACT_TEXT";

export type VerdictState =
  | "STATE_UNSPECIFIED"
  | "STATE_PASSED"
  | "STATE_FAILED";

export type BatchState =
  | "STATE_UNSPECIFIED"
  | "STATE_BUILDING"
  | "STATE_READY"
  | "STATE_FAILED";

export type FeedbackRating =
  | "RATING_UNSPECIFIED"
  | "RATING_THUMBS_UP"
  | "RATING_THUMBS_DOWN"
  | "RATING_NONE";

export type FeedbackState =
  | "STATE_UNSPECIFIED"
  | "STATE_PENDING"
  | "STATE_SUBMITTED"
  | "STATE_IN_REVIEW"
  | "STATE_APPROVED"
  | "STATE_REJECTED"
  | "STATE_EXPIRED"
  | "STATE_FORGOTTEN";

export type ClusterQueueStrategy =
  | "STRATEGY_UNSPECIFIED"
  | "STRATEGY_BEST_EFFORT_FIFO"
  | "STRATEGY_STRICT_FIFO";

export type PreemptionPolicy =
  | "POLICY_UNSPECIFIED"
  | "POLICY_NEVER"
  | "POLICY_LOWER_PRIORITY"
  | "POLICY_LOWER_OR_NEWER_EQUAL_PRIORITY"
  | "POLICY_ANY";

export type NodeState =
  | "STATE_UNSPECIFIED"
  | "STATE_READY"
  | "STATE_DRAINING"
  | "STATE_LOST"
  | "STATE_CORDONED"
  | "STATE_GONE"
  | "STATE_FENCING";

export type CardState =
  | "STATE_UNSPECIFIED"
  | "STATE_FREE"
  | "STATE_BUSY"
  | "STATE_RELEASING"
  | "STATE_LOST"
  | "STATE_SICK";

export type QueueState =
  | "STATE_UNSPECIFIED"
  | "STATE_ACTIVE"
  | "STATE_HELD";

export type QueueBudgetPeriod =
  | "BUDGET_PERIOD_UNSPECIFIED"
  | "BUDGET_PERIOD_DAY"
  | "BUDGET_PERIOD_MONTH";

export type WorkloadKind =
  | "KIND_UNSPECIFIED"
  | "KIND_TRAINER"
  | "KIND_REPLICA"
  | "KIND_JOB";

export type WorkloadState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUEUED"
  | "STATE_ADMITTED"
  | "STATE_STARTING"
  | "STATE_RUNNING"
  | "STATE_STOPPING"
  | "STATE_FINISHED"
  | "STATE_FAILED"
  | "STATE_CANCELLED";

export type Engine =
  | "ENGINE_UNSPECIFIED"
  | "ENGINE_LLAMA_CPP"
  | "ENGINE_VLLM"
  | "ENGINE_OPENAI"
  | "ENGINE_TGI";

export type DeploymentState =
  | "STATE_UNSPECIFIED"
  | "STATE_PENDING"
  | "STATE_READY"
  | "STATE_DEGRADED"
  | "STATE_FAILED"
  | "STATE_DELETED";

export type TargetState =
  | "STATE_UNSPECIFIED"
  | "STATE_PENDING"
  | "STATE_STARTING"
  | "STATE_READY"
  | "STATE_DRAINING"
  | "STATE_FAILED"
  | "STATE_STOPPED"
  | "STATE_STANDBY"
  | "STATE_ASLEEP";

export type ExperimentState =
  | "STATE_UNSPECIFIED"
  | "STATE_RUNNING"
  | "STATE_DECIDED"
  | "STATE_STOPPED";

export type ExperimentMetric =
  | "METRIC_UNSPECIFIED"
  | "METRIC_FEEDBACK"
  | "METRIC_ERRORS"
  | "METRIC_LATENCY"
  | "METRIC_LENGTH";

export type ExperimentWinner =
  | "WINNER_UNSPECIFIED"
  | "WINNER_A"
  | "WINNER_B"
  | "WINNER_NONE";

export type InferenceBatchState =
  | "STATE_UNSPECIFIED"
  | "STATE_VALIDATING"
  | "STATE_IN_PROGRESS"
  | "STATE_FINALIZING"
  | "STATE_COMPLETED"
  | "STATE_FAILED"
  | "STATE_CANCELLING"
  | "STATE_CANCELLED"
  | "STATE_EXPIRED";

export type ScheduleWindowDay =
  | "DAY_UNSPECIFIED"
  | "DAY_MONDAY"
  | "DAY_TUESDAY"
  | "DAY_WEDNESDAY"
  | "DAY_THURSDAY"
  | "DAY_FRIDAY"
  | "DAY_SATURDAY"
  | "DAY_SUNDAY";

export type ReplicaState =
  | "STATE_UNSPECIFIED"
  | "STATE_PENDING"
  | "STATE_STARTING"
  | "STATE_READY"
  | "STATE_FAILED"
  | "STATE_DRAINING"
  | "STATE_STOPPED";

export type RolloutState =
  | "STATE_UNSPECIFIED"
  | "STATE_RUNNING"
  | "STATE_SUCCEEDED"
  | "STATE_FAILED"
  | "STATE_ROLLED_BACK";

export type TraceRating =
  | "RATING_UNSPECIFIED"
  | "RATING_THUMBS_UP"
  | "RATING_THUMBS_DOWN";

export type StepKind =
  | "KIND_UNSPECIFIED"
  | "KIND_COMPLETION"
  | "KIND_AGENT"
  | "KIND_TOOL"
  | "KIND_RETRIEVAL"
  | "KIND_OTHER";

export type TrafficPolicyAction =
  | "ACTION_UNSPECIFIED"
  | "ACTION_ALLOW"
  | "ACTION_MARK"
  | "ACTION_FLAG"
  | "ACTION_REFUSE";

export type AnswerCacheMode =
  | "MODE_UNSPECIFIED"
  | "MODE_OFF"
  | "MODE_ON_REQUEST"
  | "MODE_ALWAYS";

export type FitVerdict =
  | "VERDICT_UNSPECIFIED"
  | "VERDICT_FITS"
  | "VERDICT_FITS_ON_SOME"
  | "VERDICT_TOO_LARGE"
  | "VERDICT_NO_FLAVORS";

export type Term =
  | "TERM_UNSPECIFIED"
  | "TERM_NON_COMMERCIAL"
  | "TERM_ATTRIBUTION"
  | "TERM_NAMING"
  | "TERM_SHARE_ALIKE"
  | "TERM_NO_TRAINING_OF_RIVALS"
  | "TERM_FIELD_OF_USE";

export type ModelState =
  | "STATE_UNSPECIFIED"
  | "STATE_ACTIVE"
  | "STATE_DELETED";

export type ModelUploadKind =
  | "KIND_UNSPECIFIED"
  | "KIND_WEIGHTS"
  | "KIND_GGUF"
  | "KIND_ADAPTER";

export type ModelUploadState =
  | "STATE_UNSPECIFIED"
  | "STATE_OPEN"
  | "STATE_USED";

export type VariantFormat =
  | "FORMAT_UNSPECIFIED"
  | "FORMAT_HF"
  | "FORMAT_GGUF"
  | "FORMAT_ADAPTER"
  | "FORMAT_GGUF_ADAPTER"
  | "FORMAT_COMPRESSED_TENSORS";

export type VariantState =
  | "STATE_UNSPECIFIED"
  | "STATE_CREATING"
  | "STATE_READY"
  | "STATE_FAILED"
  | "STATE_DELETED";

export type ModelVersionState =
  | "STATE_UNSPECIFIED"
  | "STATE_IMPORTING"
  | "STATE_READY"
  | "STATE_FAILED"
  | "STATE_DELETED";

export type PipelineState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUEUED"
  | "STATE_RUNNING"
  | "STATE_CANCELLING"
  | "STATE_SUCCEEDED"
  | "STATE_REFUSED"
  | "STATE_FAILED"
  | "STATE_CANCELLED";

export type StageState =
  | "STATE_UNSPECIFIED"
  | "STATE_PENDING"
  | "STATE_RUNNING"
  | "STATE_SUCCEEDED"
  | "STATE_FAILED"
  | "STATE_SKIPPED"
  | "STATE_CANCELLED";

export type Method =
  | "METHOD_UNSPECIFIED"
  | "METHOD_SFT"
  | "METHOD_DPO"
  | "METHOD_REWARD"
  | "METHOD_PPO"
  | "METHOD_KTO"
  | "METHOD_ORPO"
  | "METHOD_GRPO"
  | "METHOD_CPT";

export type Preset =
  | "PRESET_UNSPECIFIED"
  | "PRESET_QUICK_LOOK"
  | "PRESET_BALANCED"
  | "PRESET_BEST";

export type RunState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUEUED"
  | "STATE_STARTING"
  | "STATE_RUNNING"
  | "STATE_CANCELLING"
  | "STATE_SUCCEEDED"
  | "STATE_FAILED"
  | "STATE_CANCELLED"
  | "STATE_PAUSING"
  | "STATE_PAUSED"
  | "STATE_STOPPING";

export type RunInputRole =
  | "ROLE_UNSPECIFIED"
  | "ROLE_BASE"
  | "ROLE_REWARD_MODEL"
  | "ROLE_DATA";

export type AlarmKind =
  | "KIND_UNSPECIFIED"
  | "KIND_NOT_FINITE"
  | "KIND_LOSS_SPIKE"
  | "KIND_DIVERGENCE"
  | "KIND_KL_OUT_OF_BAND"
  | "KIND_ENTROPY_COLLAPSE"
  | "KIND_REWARD_HACKING"
  | "KIND_CHECKPOINT_DAMAGED"
  | "KIND_CHECKPOINT_NOT_WRITTEN"
  | "KIND_ROWS_CUT"
  | "KIND_EMPTY_ANSWERS";

export type AlarmAction =
  | "ACTION_UNSPECIFIED"
  | "ACTION_WARN"
  | "ACTION_STOP"
  | "ACTION_ROLL_BACK"
  | "ACTION_LOWER_LEARNING_RATE";

export type TryState =
  | "STATE_UNSPECIFIED"
  | "STATE_QUEUED"
  | "STATE_RUNNING"
  | "STATE_STOPPING"
  | "STATE_SUCCEEDED"
  | "STATE_FAILED"
  | "STATE_CANCELLED";

export interface AuditEntry {
  name: string;
  create_time?: string | null;
  actor: string;
  action: string;
  resource: string;
  outcome: AuditEntryOutcome;
  reason: string;
  trace_id: string;
}

export interface ApiKey {
  name: string;
  display_name: string;
  state: ApiKeyState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  role: Role;
  prefix: string;
  secret: string;
  requests_per_minute: number;
  revoke_time?: string | null;
  limits?: Limits | null;
  expire_time?: string | null;
}

export interface Limits {
  tokens_per_minute: string;
  concurrent_requests: number;
  budget_tokens: string;
  budget_microusd: string;
  budget_period: BudgetPeriod;
}

export interface Project {
  name: string;
  display_name: string;
  state: ProjectState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  consent_to_keep: boolean;
  consented_by: string;
  consent_time?: string | null;
  requests_per_minute: number;
  limits?: Limits | null;
  regions: string[];
  keep_personal_data: boolean;
  retention_days: number;
}

export interface Dataset {
  name: string;
  display_name: string;
  state: DatasetState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  type: DatasetType;
  description: string;
  origin: string;
  licence: string;
  language: string;
  latest_version: string;
  row_count: string;
  size_bytes: string;
  latest_version_state: string;
}

export interface Upload {
  name: string;
  uri: string;
  filename: string;
  size_bytes: string;
  digest: string;
  detected_row_format: RowFormat;
  detected_file_type: FileType;
  detected_encoding: string;
  create_time?: string | null;
}

export interface DatasetVersion {
  name: string;
  display_name: string;
  state: DatasetVersionState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  source_uri: string;
  uri: string;
  digest: string;
  row_format: RowFormat;
  file_type: FileType;
  encoding: string;
  row_count: string;
  train_count: string;
  test_count: string;
  refused_count: string;
  duplicate_count: string;
  near_duplicate_count: string;
  size_bytes: string;
  profile_json: string;
  origin: string;
  licence: string;
  derived_from: string[];
  split_settings?: SplitSettings | null;
  mix_in: MixIn[];
  pins: DatasetPin[];
  slices: SliceCount[];
  train_uri: string;
  train_digest: string;
  test_uri: string;
  test_digest: string;
}

export interface SplitSettings {
  test_fraction?: number | null;
  seed: string;
  holdouts: Holdout[];
  near_duplicate_threshold?: number | null;
}

export interface Holdout {
  slice: string;
  test_rows: string;
}

export interface MixIn {
  version: string;
  max_rows: string;
}

export interface SliceCount {
  slice: string;
  train_count: string;
  test_count: string;
}

export interface DatasetPin {
  holder: string;
  expire_time?: string | null;
}

export interface ChatMessage {
  role: string;
  content: string;
}

export interface Row {
  id: string;
  split: Split;
  slice: string;
  source_line: string;
  messages: ChatMessage[];
  prompt: ChatMessage[];
  chosen: ChatMessage[];
  rejected: ChatMessage[];
  meta_json: string;
}

export interface Reject {
  line: string;
  field: string;
  reason: string;
  remedy: string;
  excerpt: string;
}

export interface Comparison {
  name: string;
  display_name: string;
  state: ComparisonState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  version: string;
  suite: string;
  baseline: string;
  metric: string;
  margin: number;
  calibration: string;
  candidates: Candidate[];
  recommended: string;
  recommendation_reason: string;
  recommendation_message: string;
  start_time?: string | null;
  end_time?: string | null;
  queue: string;
  only_flavor: string;
}

export interface Candidate {
  quantisation: string;
  state: CandidateState;
  variant: string;
  evaluation: string;
  calibrated: boolean;
  size_bytes: string;
  note: string;
  score?: SliceScore | null;
  difference: number;
  difference_lower: number;
  difference_upper: number;
  within_margin: boolean;
  cost?: CostFigures | null;
  tokens_per_second: number;
  million_tokens_microusd: string;
  flavor: string;
  on_front: boolean;
  failure_reason: string;
  failure_message: string;
}

export interface FlavorCosts {
  flavor: string;
  cpu_hour_microusd: string;
  costs: FlavorCost[];
  gpu_hour_microusd: string;
}

export interface FlavorCost {
  variant: string;
  quantisation: string;
  million_tokens_microusd: string;
  score: number;
  on_front: boolean;
  comparison: string;
}

export interface Evaluation {
  name: string;
  display_name: string;
  state: EvaluationState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  variant: string;
  suite: string;
  scores: SliceScore[];
  results_uri: string;
  results_digest: string;
  row_count: number;
  latency_p50_ms: number;
  latency_p95_ms: number;
  tokens_per_second: number;
  workload: string;
  start_time?: string | null;
  end_time?: string | null;
  pipeline: string;
  cost_microusd: string;
  waiting_reason: string;
  cost?: CostFigures | null;
}

export interface CostFigures {
  memory_bytes: string;
  time_to_first_token_p50_ms: number;
  time_to_first_token_p95_ms: number;
  single_tokens_per_second: number;
  perplexity: number;
  perplexity_rows: number;
  threads: number;
  cpu_seconds_per_token: number;
  engine: string;
  card_memory_bytes: string;
  card_seconds_per_token: number;
}

export interface SliceScore {
  slice: string;
  metric: string;
  value: number;
  lower: number;
  upper: number;
  count: number;
}

export interface Result {
  row_id: string;
  slice: string;
  prompt: string;
  expected: string;
  answer: string;
  valid: boolean;
  exact: boolean;
  text_score?: number | null;
  latency_ms: number;
}

export interface Suite {
  name: string;
  display_name: string;
  state: SuiteState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  dataset_version: string;
  split: Split;
  slices: string[];
  scorer?: Scorer | null;
  max_tokens: number;
  max_rows: number;
}

export interface Scorer {
  kind: ScorerKind;
  exact_fields: string[];
  text_field: string;
}

export interface Verdict {
  name: string;
  display_name: string;
  state: VerdictState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  candidate: string;
  baseline: string;
  candidate_variant: string;
  baseline_variant: string;
  outcomes: RuleOutcome[];
  seed: string;
  resamples: number;
}

export interface GateRule {
  slice: string;
  metric: string;
  min_lower_bound: number;
}

export interface RuleOutcome {
  rule?: GateRule | null;
  passed: boolean;
  difference: number;
  lower: number;
  upper: number;
  count: number;
  candidate_value: number;
  baseline_value: number;
  reason: string;
}

export interface Batch {
  name: string;
  display_name: string;
  state: BatchState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  dataset: string;
  count: number;
  sft_count: number;
  preference_count: number;
  sft_version: string;
  preference_version: string;
  feedback: string[];
  rows_uri: string;
  rows_digest: string;
}

export interface Feedback {
  name: string;
  number: number;
  state: FeedbackState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  submitter: string;
  completion: string;
  rating: FeedbackRating;
  correction: string;
  comment: string;
  slice: string;
  messages: FeedbackMessage[];
  answer: string;
  deployment: string;
  model_version: string;
  variant: string;
  reviewer: string;
  claim_time?: string | null;
  decide_time?: string | null;
  reject_reason: string;
  edited: boolean;
  batch: string;
  display_name: string;
  completion_deleted: boolean;
  dataset_versions: string[];
}

export interface FeedbackMessage {
  role: string;
  content: string;
}

export interface CapacityUsage {
  name: string;
  start_time?: string | null;
  end_time?: string | null;
  rows: CapacityUsageRow[];
  total?: CapacityUsageRow | null;
  next_page_token: string;
  total_size: number;
}

export interface CapacityUsageRow {
  day?: string | null;
  project: string;
  user: string;
  queue: string;
  flavor: string;
  kind: WorkloadKind;
  held_seconds: number;
  core_seconds: number;
  card_seconds: number;
  cost_microusd: string;
  attempt_count: string;
  preemption_count: string;
}

export interface ClusterUtilisation {
  start_time?: string | null;
  end_time?: string | null;
  steps: UtilisationStep[];
  fragmentation?: Fragmentation | null;
}

export interface CapacityEfficiency {
  start_time?: string | null;
  end_time?: string | null;
  rows: EfficiencyRow[];
  total?: EfficiencyRow | null;
  free_card_seconds: number;
  stranded_card_seconds: number;
  fragmentation?: number | null;
  next_page_token: string;
  total_size: number;
}

export interface EfficiencyRow {
  flavor: string;
  node: string;
  core_capacity_seconds: number;
  core_held_seconds: number;
  card_capacity_seconds: number;
  card_held_seconds: number;
  simulated_card_capacity_seconds: number;
  core_utilisation?: number | null;
  card_utilisation?: number | null;
}

export interface UtilisationStep {
  start_time?: string | null;
  end_time?: string | null;
  core_capacity_seconds: number;
  core_held_seconds: number;
  card_capacity_seconds: number;
  card_held_seconds: number;
  simulated_card_capacity_seconds: number;
  core_utilisation?: number | null;
  card_utilisation?: number | null;
}

export interface Fragmentation {
  free_cards: number;
  stranded_cards: number;
  smallest_gang_cards: number;
  ratio: number;
}

export interface QueueStatistics {
  queue: string;
  admission_count: string;
  wait_mean_seconds: number;
  wait_p50_seconds: number;
  wait_p95_seconds: number;
  preemption_count: string;
  waiting_count: number;
  head_wait_seconds?: number | null;
  wait_p99_seconds: number;
}

export interface Attempt {
  name: string;
  workload: string;
  number: number;
  workload_number: number;
  display_name: string;
  kind: WorkloadKind;
  user: string;
  queue: string;
  node: string;
  flavor: string;
  resources?: Resources | null;
  card_uuids: string[];
  admit_time?: string | null;
  launch_time?: string | null;
  end_time?: string | null;
  exit_code?: number | null;
  preempted: boolean;
  cost_microusd: string;
  end_reason: string;
  preempted_for: string;
}

export interface ClusterQueue {
  name: string;
  etag: string;
  cohort: string;
  weight: number;
  strategy: ClusterQueueStrategy;
  preemption?: Preemption | null;
  quotas: FlavorQuota[];
  queue_count: number;
  pending_count: number;
  admitted_count: number;
  share: number;
  max_priority?: number | null;
  projects: string[];
}

export interface Preemption {
  within_cluster_queue: PreemptionPolicy;
  reclaim_within_cohort: PreemptionPolicy;
  borrow_within_cohort: PreemptionPolicy;
  borrow_max_priority?: number | null;
}

export interface Cohort {
  name: string;
  etag: string;
  parent: string;
  quotas: FlavorQuota[];
  weight: number;
  member_count: number;
}

export interface CostReport {
  name: string;
  start_time?: string | null;
  end_time?: string | null;
  rows: CostRow[];
}

export interface CostRow {
  day?: string | null;
  kind: WorkloadKind;
  held_seconds: number;
  gpu_seconds: number;
  cost_microusd: string;
}

export interface Node {
  name: string;
  display_name: string;
  state: NodeState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  hostname: string;
  flavor: string;
  capacity?: Resources | null;
  allocated?: Resources | null;
  cards: Card[];
  labels: Record<string, string>;
  simulated: boolean;
  last_seen_time?: string | null;
  cpu_percent: number;
  memory_used_bytes: string;
  silent_seconds: number;
  workload_count: number;
  healthy_card_count: number;
  launcher: string;
}

export interface Card {
  name: string;
  state: CardState;
  uuid: string;
  model: string;
  memory_bytes: string;
  memory_used_bytes: string;
  utilisation_percent: number;
  temperature_celsius: number;
  power_watts: number;
  workload: string;
  simulated: boolean;
  index: number;
  maker: string;
  link_group: number;
  driver_version: string;
  mig_enabled: boolean;
  fault_code: string;
  fault_message: string;
  fault_time?: string | null;
  warnings: string[];
}

export interface Flavor {
  name: string;
  display_name: string;
  node_labels: Record<string, string>;
  cpu_hour_microusd: string;
  gpu_hour_microusd: string;
  etag: string;
  price_source: string;
}

export interface CardModel {
  name: string;
  display_name: string;
  maker: string;
  memory_bytes?: string | null;
  bf16_tflops?: number | null;
  fp16_tflops?: number | null;
  int8_tops?: number | null;
  memory_bandwidth_bytes?: string | null;
  hour_microusd?: string | null;
  source: string;
  price_source: string;
  present_count: number;
  visible_devices_variable: string;
  collective_library: string;
  discovered: boolean;
}

export interface Resources {
  cpu_milli: number;
  memory_bytes: string;
  gpu: number;
  gpu_milli: number;
}

export interface PriorityClass {
  name: string;
  etag: string;
  value: number;
  description: string;
  pending_count: number;
  admitted_count: number;
}

export interface Queue {
  name: string;
  display_name: string;
  state: QueueState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  cluster_queue: string;
  priority: number;
  quotas: FlavorQuota[];
  pending_count: number;
  admitted_count: number;
  budget_microusd: string;
  budget_period: QueueBudgetPeriod;
  spent_microusd: string;
}

export interface FlavorQuota {
  flavor: string;
  nominal?: Resources | null;
  used?: Resources | null;
  borrowing_limit?: Resources | null;
  lending_limit?: Resources | null;
}

export interface WhatIfReport {
  start_time?: string | null;
  end_time?: string | null;
  policy: string;
  before?: SimulationReport | null;
  after?: SimulationReport | null;
  left_out_count: number;
  truncated_count: number;
  added_hour_microusd: string;
  input_digest: string;
  removed_hour_microusd: string;
}

export interface AddedNodes {
  node_count: number;
  flavor: string;
  cards_per_node: number;
  cpu_milli_per_node: number;
}

export interface SimulationReport {
  job_count: number;
  ended_count: number;
  refused_count: number;
  mean_completion_seconds?: number | null;
  p50_completion_seconds?: number | null;
  p99_completion_seconds?: number | null;
  max_completion_seconds?: number | null;
  mean_wait_seconds?: number | null;
  p50_wait_seconds?: number | null;
  p99_wait_seconds?: number | null;
  makespan_seconds?: number | null;
  utilisation?: number | null;
  fragmentation?: number | null;
  jain_index?: number | null;
  p99_finish_time_fairness?: number | null;
  preemption_count: number;
  node_count: number;
  hour_microusd: string;
}

export interface Workload {
  name: string;
  display_name: string;
  state: WorkloadState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  spec?: WorkloadSpec | null;
  waiting_reason: string;
  attempt: number;
  exit_code?: number | null;
  address: string;
  result_json: string;
  node: string;
  flavor: string;
  usage?: WorkloadUsage | null;
  admit_time?: string | null;
  start_time?: string | null;
  end_time?: string | null;
  waiting_message: string;
  queue_position: number;
  earliest_start_time?: string | null;
  preemptions: number;
  preempted_for: string;
  preemption_rule: string;
  held: boolean;
  earliest_start_estimated: boolean;
}

export interface WorkloadSpec {
  kind: WorkloadKind;
  module: string;
  spec_json: string;
  requests?: Resources | null;
  queue: string;
  priority: number;
  max_attempts: number;
  owner: string;
  display_name: string;
  only_flavor: string;
  max_run_seconds: number;
  throughput_class: string;
  priority_class: string;
  guaranteed: boolean;
  user: string;
}

export interface WorkloadUsage {
  cpu_seconds: number;
  gpu_seconds: number;
  held_seconds: number;
  peak_memory_bytes: string;
  cost_microusd: string;
}

export interface Adapter {
  id: string;
  variant: string;
  model_version: string;
  digest: string;
  keys: string[];
}

export interface Completion {
  name: string;
  create_time?: string | null;
  deployment: string;
  target: string;
  model_version: string;
  variant: string;
  messages: CompletionMessage[];
  parameters_json: string;
  answer: string;
  finish_reason: string;
  usage?: TokenUsage | null;
  time_to_first_token_ms: number;
  duration_ms: number;
  api_key: string;
  streamed: boolean;
  shadow_of: string;
  session: string;
  trace: string;
  span_id: string;
  parent_span_id: string;
  tool_calls: ToolCall[];
  error: string;
  cached_tokens: number;
  cost_microusd: number;
  rating: string;
  prompt: string;
  guardrails: string[];
  cached: boolean;
}

export interface CompletionMessage {
  role: string;
  content: string;
  tool_calls: ToolCall[];
  tool_call_id: string;
}

export interface TokenUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export interface Deployment {
  name: string;
  display_name: string;
  state: DeploymentState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  failure_reason: string;
  failure_message: string;
  targets: Target[];
  alias: string;
  queue: string;
  rollout?: Rollout | null;
  scale?: Scale | null;
  fallbacks: string[];
  fallback_after?: string | null;
  guarantee_warning: string;
}

export interface Target {
  id: string;
  state: TargetState;
  engine: Engine;
  model_version: string;
  variant: string;
  weight_percent: number;
  workload: string;
  address: string;
  upstream_url: string;
  upstream_model: string;
  upstream_key_ref: string;
  failure_reason: string;
  failure_message: string;
  ready_time?: string | null;
  standby_time?: string | null;
  input_price_microusd: string;
  output_price_microusd: string;
  places: number;
  replicas: number;
  ready_replicas: number;
  wake_time?: string | null;
  cold_start_seconds: number;
  shadow_percent: number;
  region: string;
  adapters: Adapter[];
}

export interface TargetSpec {
  variant: string;
  engine: Engine;
  weight_percent: number;
  upstream_url: string;
  upstream_model: string;
  upstream_key_ref: string;
  input_price_microusd: string;
  output_price_microusd: string;
  places: number;
  region: string;
}

export interface Experiment {
  name: string;
  state: ExperimentState;
  create_time?: string | null;
  created_by: string;
  end_time?: string | null;
  etag: string;
  metric: ExperimentMetric;
  a?: Arm | null;
  b?: Arm | null;
  min_effect: number;
  error_chance: number;
  threshold: number;
  difference: number;
  low: number;
  high: number;
  winner: ExperimentWinner;
  leader: ExperimentWinner;
  history: ExperimentPoint[];
  failure_reason: string;
  failure_message: string;
  rollout: string;
}

export interface Arm {
  target: string;
  variant: string;
  upstream_model: string;
  count: string;
  hits: string;
}

export interface ExperimentPoint {
  time?: string | null;
  count: string;
  difference: number;
  low: number;
  high: number;
}

export interface InferenceBatch {
  name: string;
  display_name: string;
  state: InferenceBatchState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  endpoint: string;
  input_file: string;
  output_file: string;
  error_file: string;
  source_version: string;
  model: string;
  system: string;
  max_tokens: number;
  temperature?: number | null;
  result_dataset: string;
  result_version: string;
  model_versions: string[];
  total_count: number;
  completed_count: number;
  failed_count: number;
  start_time?: string | null;
  end_time?: string | null;
  expire_time?: string | null;
  errors: LineError[];
}

export interface LineError {
  line: number;
  code: string;
  message: string;
  param: string;
}

export interface Prompt {
  name: string;
  display_name: string;
  create_time?: string | null;
  update_time?: string | null;
  created_by: string;
  etag: string;
  newest_version: number;
  labels: Record<string, number>;
  history: PromptMove[];
}

export interface PromptVersion {
  name: string;
  number: number;
  create_time?: string | null;
  created_by: string;
  comment: string;
  messages: PromptTurn[];
  parameters_json: string;
  variables: string[];
  labels: string[];
}

export interface PromptMove {
  label: string;
  from_version: number;
  to_version: number;
  time?: string | null;
  moved_by: string;
}

export interface PromptTurn {
  role: string;
  content: string;
}

export interface Scale {
  min_replicas: number;
  max_replicas: number;
  idle_time?: string | null;
  schedule?: Schedule | null;
}

export interface Schedule {
  time_zone: string;
  windows: ScheduleWindow[];
}

export interface ScheduleWindow {
  days: ScheduleWindowDay[];
  start: string;
  end: string;
  min_replicas: number;
  max_replicas: number;
}

export interface Replica {
  name: string;
  state: ReplicaState;
  create_time?: string | null;
  update_time?: string | null;
  target: string;
  workload: string;
  address: string;
  failure_reason: string;
  failure_message: string;
  failures: number;
  ready_time?: string | null;
  retry_time?: string | null;
  drain_time?: string | null;
  requests: number;
}

export interface Rollout {
  name: string;
  state: RolloutState;
  create_time?: string | null;
  created_by: string;
  end_time?: string | null;
  before: Share[];
  after: Share[];
  steps: number[];
  step_time?: string | null;
  history: RolloutStep[];
  reverts: string;
  failure_reason: string;
  failure_message: string;
  guard?: Guard | null;
  evidence: Evidence[];
}

export interface Guard {
  errors: boolean;
  latency: boolean;
  feedback: boolean;
  false_alarm: number;
}

export interface Evidence {
  measure: string;
  new_bad: string;
  new_count: string;
  old_bad: string;
  old_count: string;
  e_value: number;
  alarm_at: number;
}

export interface Share {
  target: string;
  weight_percent: number;
  variant: string;
  upstream_model: string;
}

export interface RolloutStep {
  percent: number;
  time?: string | null;
}

export interface Shadow {
  name: string;
  variant: string;
  upstream_model: string;
  percent: number;
  count: string;
  error_rate?: ShadowEstimate | null;
  agreement?: ShadowEstimate | null;
  similarity?: ShadowEstimate | null;
  length_ratio?: ShadowEstimate | null;
  latency_ratio?: ShadowEstimate | null;
}

export interface ShadowEstimate {
  value: number;
  low: number;
  high: number;
  count: string;
}

export interface ShadowPair {
  name: string;
  create_time?: string | null;
  completion: string;
  shadow_completion: string;
  agrees: boolean;
  similarity: number;
  duration_ms: number;
  shadow_duration_ms: number;
  failure_reason: string;
  prompt: string;
  answer: string;
  shadow_answer: string;
}

export interface Spending {
  name: string;
  request_count: string;
  tokens: string;
  cost_microusd: string;
  reserved_tokens: string;
  reserved_microusd: string;
  running_request_count: string;
  period_end_time?: string | null;
  budget_tokens: string;
  budget_microusd: string;
}

export interface ProjectSpending {
  name: string;
  project?: Spending | null;
  keys: Spending[];
  sent_out: SentOut[];
}

export interface SentOut {
  upstream: string;
  region: string;
  prompt_count: string;
  last_time?: string | null;
}

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

export interface Trace {
  name: string;
  start_time?: string | null;
  end_time?: string | null;
  session: string;
  opening: string;
  deployment: string;
  model_version: string;
  completion_count: number;
  span_count: number;
  error_count: number;
  prompt_tokens: string;
  completion_tokens: string;
  total_tokens: string;
  cost_microusd: number;
  duration_ms: number;
  steps: Step[];
}

export interface Step {
  name: string;
  span_id: string;
  parent_span_id: string;
  kind: StepKind;
  title: string;
  start_time?: string | null;
  duration_ms: number;
  error: string;
  completion?: Completion | null;
  input: string;
  output: string;
  attributes_json: string;
}

export interface TrafficPolicy {
  name: string;
  update_time?: string | null;
  etag: string;
  prompt_data: TrafficPolicyAction;
  answer_data: TrafficPolicyAction;
  injection: TrafficPolicyAction;
  hook?: GuardrailHook | null;
  cache?: AnswerCache | null;
}

export interface GuardrailHook {
  url: string;
  timeout?: string | null;
  fails_open: boolean;
  before: boolean;
  after: boolean;
  region: string;
}

export interface AnswerCache {
  mode: AnswerCacheMode;
  ttl?: string | null;
  deployments: string[];
  billed: boolean;
}

export interface TrafficFindings {
  name: string;
  start_time?: string | null;
  findings: TrafficFinding[];
}

export interface TrafficFinding {
  what: string;
  action: string;
  count: string;
  last_time?: string | null;
}

export interface UsageReport {
  name: string;
  start_time?: string | null;
  end_time?: string | null;
  rows: UsageRow[];
  total?: UsageRow | null;
}

export interface UsageRow {
  day?: string | null;
  api_key: string;
  deployment: string;
  model_version: string;
  upstream_model: string;
  request_count: string;
  prompt_tokens: string;
  completion_tokens: string;
  cost_microusd: string;
}

export interface Alias {
  name: string;
  version: string;
  variant: string;
  gated: boolean;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
}

export interface AliasMove {
  name: string;
  from_version: string;
  to_version: string;
  to_variant: string;
  verdict: string;
  moved_by: string;
  move_time?: string | null;
}

export interface ModelCard {
  name: string;
  sections: CardSection[];
  markdown: string;
  etag: string;
  updated_by: string;
  update_time?: string | null;
}

export interface CardSection {
  title: string;
  body: string;
  generated: boolean;
}

export interface ModelFile {
  path: string;
  size_bytes: string;
  digest: string;
}

export interface Fit {
  name: string;
  verdict: FitVerdict;
  weights_bytes: string;
  kv_cache_bytes: string;
  overhead_bytes: string;
  needed_bytes: string;
  context_tokens: string;
  flavors: FlavorFit[];
  message: string;
}

export interface FlavorFit {
  flavor: string;
  memory_bytes: string;
  usable_bytes: string;
  fits: boolean;
  missing_bytes: string;
}

export interface LicenceTerms {
  name: string;
  licence: string;
  origin: string;
  terms: InheritedTerm[];
  unknown: UnknownLicence[];
  refusals: Refusal[];
  truncated: boolean;
}

export interface InheritedTerm {
  term: Term;
  because_of: string;
  licence: string;
  summary: string;
  url: string;
}

export interface UnknownLicence {
  name: string;
  licence: string;
}

export interface Refusal {
  term: Term;
  because_of: string;
  licence: string;
  message: string;
}

export interface LicencePolicy {
  name: string;
  refuse_terms: Term[];
  refuse_unknown: boolean;
  etag: string;
  updated_by: string;
  update_time?: string | null;
}

export interface Lineage {
  nodes: LineageNode[];
  edges: LineageEdge[];
  truncated: boolean;
}

export interface LineageNode {
  name: string;
  kind: string;
  display_name: string;
  digest: string;
  count: string;
  list_path: string;
}

export interface LineageEdge {
  source: string;
  target: string;
  relation: string;
  time?: string | null;
  weight_percent: number;
}

export interface Model {
  name: string;
  display_name: string;
  state: ModelState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  description: string;
  origin: string;
  licence: string;
  architecture: string;
  parameter_count: string;
  size_bytes: string;
  latest_version: string;
  latest_version_state: string;
  aliases: AliasTarget[];
}

export interface AliasTarget {
  alias: string;
  version: string;
}

export interface ModelUpload {
  name: string;
  display_name: string;
  state: ModelUploadState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  kind: ModelUploadKind;
  files: ModelUploadFile[];
  part_size_bytes: string;
  size_bytes: string;
  received_bytes: string;
  uri: string;
  used_by: string;
  expire_time?: string | null;
}

export interface ModelUploadFile {
  path: string;
  size_bytes: string;
  parts: ModelUploadPart[];
}

export interface ModelUploadPart {
  number: number;
  size_bytes: string;
  digest: string;
}

export interface Variant {
  name: string;
  display_name: string;
  state: VariantState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  failure_reason: string;
  failure_message: string;
  version: string;
  format: VariantFormat;
  quantisation: string;
  uri: string;
  digest: string;
  size_bytes: string;
  note: string;
  workload: string;
  calibration: string;
  calibration_digest: string;
  source: string;
}

export interface ModelVersion {
  name: string;
  display_name: string;
  state: ModelVersionState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  source: string;
  uri: string;
  digest: string;
  size_bytes: string;
  architecture: string;
  parameter_count: string;
  parents?: Parents | null;
  origin: string;
  licence: string;
  card: string;
  pins: ModelPin[];
  variants: string[];
  workload: string;
}

export interface Parents {
  run: string;
  base_version: string;
  dataset_versions: string[];
  pipeline: string;
}

export interface ModelPin {
  holder: string;
  expire_time?: string | null;
}

export interface TrainingMethod {
  name: string;
  method: Method;
  display_name: string;
  display_name_zh: string;
  dataset_type: string;
  needs_reward_model: boolean;
  settings_schema?: Record<string, unknown> | null;
  health_schema?: Record<string, unknown> | null;
}

export interface Pipeline {
  name: string;
  display_name: string;
  state: PipelineState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  spec?: PipelineSpec | null;
  stages: Stage[];
  start_time?: string | null;
  end_time?: string | null;
  model_version: string;
  verdict: string;
  cost_microusd: string;
}

export interface PipelineSpec {
  base: string;
  feedback_batch: string;
  sft?: TrainingStep | null;
  dpo?: TrainingStep | null;
  register_as: string;
  quantisations: string[];
  suites: string[];
  gate?: GateSettings | null;
  alias: string;
  deployment: string;
  traffic_steps: number[];
  traffic_step_seconds: number;
  queue: string;
  priority: number;
  seed: string;
  collect?: Collect | null;
  reward?: TrainingStep | null;
  ppo?: TrainingStep | null;
  reward_model: string;
}

export interface Collect {
  min_feedback: number;
  dataset_id: string;
}

export interface TrainingStep {
  datasets: ReplaySource[];
  hyperparameters?: Hyperparameters | null;
  recipe: string;
}

export interface ReplaySource {
  version: string;
  max_rows: number;
}

export interface GateSettings {
  baseline_variant: string;
  rules: GateRule[];
}

export interface Stage {
  id: string;
  state: StageState;
  resource: string;
  start_time?: string | null;
  end_time?: string | null;
  message: string;
  result: Record<string, string>;
}

export interface Recipe {
  name: string;
  display_name: string;
  description: string;
  method: Method;
  hyperparameters?: Hyperparameters | null;
  dataset_type: string;
  needs_reward_model: boolean;
  presets: RecipePreset[];
}

export interface RecipePreset {
  preset: Preset;
  hyperparameters?: Hyperparameters | null;
}

export interface Run {
  name: string;
  display_name: string;
  state: RunState;
  create_time?: string | null;
  update_time?: string | null;
  etag: string;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  spec?: RunSpec | null;
  step: number;
  total_steps: number;
  loss?: number | null;
  eta?: string | null;
  attempt: number;
  resumed_from_step: number;
  workload: string;
  output_uri: string;
  output_digest: string;
  estimate?: Estimate | null;
  model_version: string;
  start_time?: string | null;
  end_time?: string | null;
  waiting_reason: string;
  metrics: Record<string, number>;
  pipeline: string;
  cost_microusd: string;
  forked_from: string;
  stopped_early: boolean;
  eta_low?: string | null;
  eta_high?: string | null;
  inputs: RunInput[];
  content_digest: string;
  expected_cost_microusd?: string | null;
  model_flops_utilisation?: number | null;
}

export interface RunInput {
  role: RunInputRole;
  name: string;
  uri: string;
  digest: string;
  rows: string;
}

export interface RunSpec {
  method: Method;
  base: string;
  reward_model: string;
  datasets: string[];
  hyperparameters?: Hyperparameters | null;
  seed: string;
  recipe: string;
  register_as: string;
  queue: string;
  priority: number;
  max_attempts: number;
  health?: Health | null;
  priority_class: string;
  preset: Preset;
}

export interface Health {
  not_finite: AlarmAction;
  loss_spike: AlarmAction;
  divergence: AlarmAction;
  kl_out_of_band: AlarmAction;
  entropy_collapse: AlarmAction;
  reward_hacking: AlarmAction;
  spike_deviations?: number | null;
  divergence_ratio?: number | null;
  largest_kl?: number | null;
  smallest_entropy_ratio?: number | null;
  largest_length_ratio?: number | null;
}

export interface Hyperparameters {
  epochs?: number | null;
  max_steps?: number | null;
  learning_rate?: number | null;
  batch_size?: number | null;
  gradient_accumulation_steps?: number | null;
  lora_rank?: number | null;
  lora_alpha?: number | null;
  lora_dropout?: number | null;
  max_length?: number | null;
  checkpoint_every?: number | null;
  warmup_ratio?: number | null;
  weight_decay?: number | null;
  beta?: number | null;
  max_new_tokens?: number | null;
  num_generations?: number | null;
  assistant_only_loss?: boolean | null;
  activation_checkpointing?: boolean | null;
  own?: Record<string, unknown> | null;
}

export interface Estimate {
  memory_bytes: string;
  seconds: number;
  cost_microusd: string;
  flavor: string;
  steps: number;
  tokens_per_second: number;
  parts: MemoryPart[];
  choices: SettingChoice[];
  flavors: FlavorEstimate[];
}

export interface MemoryPart {
  term: string;
  bytes: string;
}

export interface SettingChoice {
  setting: string;
  value: string;
  reason: string;
  message: string;
}

export interface FlavorEstimate {
  flavor: string;
  fits: boolean;
  memory_bytes: string;
  available_bytes: string;
  seconds: number;
  cost_microusd: string;
  tokens_per_second: number;
  parts: MemoryPart[];
  choices: SettingChoice[];
  reason: string;
  remedy?: SettingChoice | null;
  fastest: boolean;
  cheapest: boolean;
  gpu: number;
}

export interface Alarm {
  name: string;
  kind: AlarmKind;
  action: AlarmAction;
  step: number;
  attempt: number;
  values: Record<string, number>;
  detail: string;
  create_time?: string | null;
}

export interface Sample {
  name: string;
  step: number;
  number: number;
  prompt: string;
  expected: string;
  answer: string;
}

export interface MetricPoint {
  step: number;
  time?: string | null;
  metrics: Record<string, number>;
}

export interface Checkpoint {
  name: string;
  step: number;
  attempt: number;
  uri: string;
  digest: string;
  size_bytes: string;
  create_time?: string | null;
}

export interface RunUpdate {
  run?: Run | null;
  points: MetricPoint[];
}

export interface Try {
  name: string;
  display_name: string;
  state: TryState;
  create_time?: string | null;
  end_time?: string | null;
  created_by: string;
  number: number;
  failure_reason: string;
  failure_message: string;
  waiting_reason: string;
  workload: string;
  estimate?: Estimate | null;
  report?: TryReport | null;
  cost_microusd: string;
}

export interface TryReport {
  steps: number;
  total_steps: number;
  samples: TrySample[];
  tokens?: TokenCounts | null;
  losses: number[];
  first_step_seconds: number;
  step_seconds?: number | null;
  tokens_per_second?: number | null;
  peak_memory_bytes?: string | null;
  training_seconds?: TrainingTime | null;
  alarms: Alarm[];
}

export interface TrySample {
  sides: Record<string, TrySide>;
}

export interface TrySide {
  pieces: TryPiece[];
}

export interface TryPiece {
  text: string;
  loss: boolean;
}

export interface TokenCounts {
  sequences: number;
  p50: number;
  p95: number;
  max: number;
  cut_share: number;
}

export interface TrainingTime {
  low: number;
  expected: number;
  high: number;
}
