/** What llama.cpp serves, the largest first. */
export const GGUF = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"];
/** What vLLM serves, made by llm-compressor. */
export const FOR_VLLM = ["AWQ", "GPTQ", "FP8"];
/** Cannot be made without conversations, and may be made on several data sets. */
const CALIBRATED = ["AWQ", "GPTQ"];

export function needsCalibration(quantisation: string): boolean {
  return CALIBRATED.includes(quantisation);
}
