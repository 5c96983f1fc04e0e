/** The console's own colours; styles.css has the same as variables, antd and ECharts take them from here. */
export interface Palette {
  canvas: string;
  surface: string;
  raised: string;
  ink: string;
  ink2: string;
  ink3: string;
  line: string;
  lineSoft: string;
  accent: string;
  accentHover: string;
  accentSoft: string;
  ok: string;
  wait: string;
  bad: string;
  info: string;
}

export const LIGHT: Palette = {
  canvas: "#f3f6f5",
  surface: "#ffffff",
  raised: "#ffffff",
  ink: "#15211f",
  ink2: "#4d5e5b",
  ink3: "#6f807d",
  line: "#d8e0de",
  lineSoft: "#e8edec",
  accent: "#0c696b",
  accentHover: "#0f7f80",
  accentSoft: "#e0efee",
  ok: "#23794a",
  wait: "#a35c00",
  bad: "#b8322a",
  info: "#3b6a9c",
};

export const DARK: Palette = {
  canvas: "#0d1414",
  surface: "#141c1c",
  raised: "#1b2525",
  ink: "#e4eceb",
  ink2: "#a3b4b1",
  ink3: "#7f918e",
  line: "#2a3737",
  lineSoft: "#202b2b",
  accent: "#52bdb5",
  accentHover: "#6fcfc7",
  accentSoft: "#15322f",
  ok: "#5ab981",
  wait: "#e2a24b",
  bad: "#ec7067",
  info: "#7cabdb",
};

/** Lines and marks of a comparison, the oldest first: what is newest is darkest and stands out. */
export function seriesColours(palette: Palette, count: number): string[] {
  const steps = [palette.ink3, palette.info, palette.wait, palette.accent];
  if (count <= 1) return [palette.accent];
  if (count === 2) return [palette.ink3, palette.accent];
  if (count === 3) return [palette.ink3, palette.info, palette.accent];
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? palette.accent : (steps[i % 3] ?? palette.ink3)));
}
